package words

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 files", 1: "1 file", 2: "2 files"} {
		if got := Count(n, "file"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for what, want := range map[string]string{"entry": "2 entries", "key": "2 keys"} {
		if got := Count(2, what); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, übung, 日本":             "plain text, übung, 日本",
		"two\nlines\tand a tab":             "two\nlines\tand a tab",
		"\x1b[31mred\x07":                   `\x1b[31mred\a`,
		"a\rb\r\nc":                         "a\\rb\nc",
		"::error::x":                        ": :error::x",
		"ok\n  ::set-env name=x::y":         "ok\n  : :set-env name=x::y",
		"\u00a0::warning::x":                "\u00a0: :warning::x",
		"a std::string":                     "a std::string",
		"x ##[add-mask]y":                   "x ## [add-mask]y",
		"##vso[task.x]y":                    "## vso[task.x]y",
		"\xff\xfe":                          `\xff\xfe`,
		"\u202egpj.exe":                     `\u202egpj.exe`,
		"a\u2028::b\u0085c":                 `a\u2028::b\u0085c`,
		"\u009b31m":                         `\u009b31m`,
		"nul\x00, delete\x7f, \u200b: gone": `nul\x00, delete\x7f, \u200b: gone`,
	} {
		if got := Harmless(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := Line("a\n::b\tc"); got != `a\n::b\tc` {
		t.Errorf("%q", got)
	}
}

func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"\x1b]0;x\x07", "::a", "\n ::a", "###[x", "\xff::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Harmless(text)
		if Harmless(got) != got {
			t.Errorf("%q: a second time it becomes %q", got, Harmless(got))
		}
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unsafeRune) || strings.Contains(got, "##[") {
			t.Errorf("%q became %q", text, got)
		}
		for line := range strings.Lines(got) {
			if strings.HasPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::") {
				t.Errorf("%q became %q", text, got)
			}
		}
		if strings.Contains(Line(text), "\n") {
			t.Errorf("%q has several lines", Line(text))
		}
	})
}

func TestShell(t *testing.T) {
	for word, want := range map[string]string{
		"out/hook-1.0_a:b=c,d@e+f%g": "out/hook-1.0_a:b=c,d@e+f%g", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "~/x": "'~/x'", "ä": "'ä'",
	} {
		if got := Shell(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
