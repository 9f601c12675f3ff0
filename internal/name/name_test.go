package name_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/internal/name"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBad(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
	if at := name.Bad(letters); at != -1 {
		t.Errorf("%q at %d", letters[at], at)
	}
	for c := range 256 {
		want := 1
		if strings.IndexByte(letters, byte(c)) >= 0 {
			want = -1
		}
		if got := name.Bad("a" + string([]byte{byte(c)})); got != want {
			t.Errorf("byte %#02x: %d, want %d", c, got, want)
		}
	}
}
