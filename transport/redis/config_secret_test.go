package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const secret = "hunter2-and-more"

// printed is what v becomes in every way in which a value gets into a log.
func printed(t *testing.T, v any) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%20v"} {
		texts[verb] = fmt.Sprintf(verb, v)
	}
	texts["Println"] = fmt.Sprintln(v)
	doc, err := json.Marshal(v)
	if err != nil {
		t.Errorf("%T: %v", v, err)
	}
	texts["json"] = string(doc)
	var text, object, sugar bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&object, nil)).Info("m", "v", v)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&sugar), zap.InfoLevel)
	zap.New(core).Info("m", zap.Any("v", v))
	zap.New(core).Sugar().Infow("m", "v", v)
	zap.New(core).Sugar().Infof("%+v", v)
	texts["slog text"], texts["slog json"], texts["zap"] = text.String(), object.String(), sugar.String()
	return texts
}

// TestPasswordsAreNotPrinted: no verb of fmt, no encoder and no logger prints a password, wherever
// it stands.
func TestPasswordsAreNotPrinted(t *testing.T) {
	who := redis.Credentials{Username: "ann", Password: secret, Renew: time.Unix(1e9, 0)}
	cfg := redis.Config{
		Addrs: []string{"h:1"}, Username: "ann", Password: secret, Compact: true, PublishTimeout: time.Minute,
		TLS: &tls.Config{MinVersion: tls.VersionTLS13}, Topics: map[string]redis.TopicConfig{"t": {Dedicated: true}},
		Credentials: func(context.Context, string) (redis.Credentials, error) { return who, nil },
		Sentinel:    redis.Sentinel{Addrs: []string{"s:1"}, Primary: "p", Username: "bob", Password: secret},
	}
	type holder struct {
		Config *redis.Config
		Plain  redis.Config
		Who    []redis.Credentials
	}
	server := redistest.Standalone(t, redistest.Config{Password: secret})
	tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr()}, Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, v := range []any{
		who, &who, cfg, &cfg, cfg.Sentinel, &cfg.Sentinel, holder{&cfg, cfg, []redis.Credentials{who}}, []any{cfg, who},
		map[string]redis.Config{"a": cfg}, tr, []any{tr}, struct{ T any }{tr},
	} {
		for how, text := range printed(t, v) {
			if strings.Contains(text, secret) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", secret)) {
				t.Errorf("%s of %T has the password: %s", how, v, text)
			}
		}
	}
	for _, want := range []string{"Addrs:[h:1]", "Username:ann", "Password:[redacted]", "PublishTimeout:1m0s", "TLS:set", "Credentials:set", "Primary:p"} {
		if text := fmt.Sprint(cfg); !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if text := fmt.Sprintf("%#v", redis.Credentials{Username: "ann"}); text != "redis.Credentials{Username:ann}" {
		t.Errorf("what is not set is printed: %s", text)
	}
	if text := fmt.Sprint(tr); !strings.Contains(text, server.Addr()) {
		t.Errorf("a transport is %s", text)
	}
	if text := fmt.Sprint((*redis.Transport)(nil)); text != "<nil>" {
		t.Errorf("no transport is %s", text)
	}
	var again redis.Credentials
	if err := json.Unmarshal([]byte(`{"Username":"ann","Password":"`+secret+`"}`), &again); err != nil || again.Password != secret {
		t.Errorf("read from JSON: %q, %v", again.Password, err)
	}
}

// quoting answers every command as a server or proxy that knows none does: it quotes the arguments.
func quoting(t *testing.T) (addr string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() { // ends with l
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go quote(conn) // ends with the connection
		}
	}()
	return l.Addr().String()
}

func quote(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line := func() string {
		s, _ := in.ReadString('\n') // the end is empty
		return strings.TrimSpace(s)
	}
	for {
		var n int
		if _, err := fmt.Sscanf(line(), "*%d", &n); err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			line()
			words[i] = line()
		}
		args := "'" + strings.Join(words[1:], "' '") + "'"
		if _, err := fmt.Fprintf(conn, "-ERR unknown command '%s', with args beginning with: %.128s\r\n", words[0], args); err != nil {
			return
		}
	}
}

// TestPasswordsAreNotInErrors: a server that does not know a command quotes what it was sent, as
// far as 128 bytes of it. Neither errors nor logs have the password then, in part either.
func TestPasswordsAreNotInErrors(t *testing.T) {
	for name, password := range map[string]string{"short": secret, "longer than what is quoted": secret + strings.Repeat("x", 1000)} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			addr := quoting(t)
			for kind, cfg := range map[string]redis.Config{
				"password": {Addrs: []string{addr}, Password: password},
				"user":     {Addrs: []string{addr}, Username: "ann", Password: password},
				"sentinel": {Sentinel: redis.Sentinel{Addrs: []string{addr}, Primary: "p", Password: password}},
				"credentials": {Addrs: []string{addr}, Credentials: func(context.Context, string) (redis.Credentials, error) {
					return redis.Credentials{Password: password}, nil
				}},
			} {
				cfg.Logger, cfg.PublishTimeout = zap.New(core), 100*time.Millisecond
				_, err := redis.Open(t.Context(), cfg)
				if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "unknown command") {
					t.Errorf("%s: Open: %v", kind, err)
				}
				report, err := redis.Check(t.Context(), cfg)
				if text := fmt.Sprint(report, err); strings.Contains(text, secret) {
					t.Errorf("%s: Check: %s", kind, text)
				}
			}
			for _, e := range logs.All() {
				if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, secret) {
					t.Errorf("logged: %s", text)
				}
			}
		})
	}
}
