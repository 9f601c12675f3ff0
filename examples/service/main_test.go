package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestService: the service becomes ready, takes orders, and ends in order when it is told to.
func TestService(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	ask := func(method, path string) (status int, text string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for status := 0; status != http.StatusOK; { // each round waits for an answer: the bus may not be started yet
		var text string
		if status, text = ask("GET", "/ready"); status != http.StatusOK && !strings.Contains(text, "not started") {
			t.Fatalf("%d %s", status, text)
		}
	}
	for path, method := range map[string]string{"/live": "GET", "/orders/o-1": "POST", "/orders/o-2": "POST"} {
		if status, text := ask(method, path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestReadmeShowsTheService: the README has this program as it is.
func TestReadmeShowsTheService(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(program), "\nfunc serve(")
	shown, _, _ = strings.Cut(shown, "\nfunc ship(")
	if !strings.Contains(string(readme), "func serve("+shown) {
		t.Error("README.md shows another serve than main.go")
	}
}
