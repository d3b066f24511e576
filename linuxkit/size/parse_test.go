package size

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"1b": 1, "200000000": 200e6, "180MB": 180e6, "180m": 180e6, "1.5 G": 15e8, "170MiB": 170 << 20, "2ki": 2048, " 3TB ": 3e12, "7b": 7,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "large", "-1", "0", "5", "1ib", "1.MB", "1e9", "99999999999999T", "0.1"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %d", text, got)
		}
	}
}
