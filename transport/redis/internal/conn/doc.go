// Package conn makes connections to servers: it dials, logs in and keeps logged in, checks what a
// server sends before the client library reads it, and says what a server's errors mean.
//
//	settings, connect     how servers are reached; user code that dials and gives passwords
//	handshake             HELLO, login and name of a new connection
//	dial                  connections of rueidis: shared, and dedicated to Pub/Sub
//	guard, pendingreplies check each message: rueidis ends the process on some that are wrong
//	reauth                log open connections in again before a password ends
//	errors, explain       what an error of a command means, and what to do about it
//	role, info            what a server says of itself
//
// User code (a Settings' functions) runs on goroutines of its own. Nothing here is called with a
// lock held; the reauther's lock is never held during I/O.
package conn
