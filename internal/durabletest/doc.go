// Package durabletest has the tests of durable topics: of package bus with the logs of transport/memory
// and transport/file.
package durabletest
