package bustest

import "testing"

func FuzzClip(f *testing.F) {
	f.Add("aé", 2)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = max(0, min(n, 1000))
		if got := clip(text, n); len(text) > n && len(got) > n+40 || len(text) <= n && got != text {
			t.Errorf("clip(%q, %d) = %q", text, n, got)
		}
	})
}
