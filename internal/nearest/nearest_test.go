package nearest

import "testing"

func TestWord(t *testing.T) {
	words := []string{"build", "embed", "inspect", "verify"}
	for mistyped, want := range map[string]string{
		"bulid": "build", "buil": "build", "embedd": "embed", "inpsect": "inspect", "vreify": "verify",
		"build": "build", "xyz": "", "em": "embed", "e": "", "inspect-all": "", "": "",
	} {
		if got := Word(mistyped, words); got != want {
			t.Errorf("Word(%q) = %q, want %q", mistyped, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}} {
		if got := changes(c.a, c.b); got != c.want {
			t.Errorf("changes(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
