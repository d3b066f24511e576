package web

import (
	"net/url"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

// Nothing of the user, password, query and fragment of a URL is shown, alone or in a
// text.
func FuzzShow(f *testing.F) {
	f.Add("me", "secret", "secret", "secret")
	f.Add("me@x", "sec?ret/@#", "a.b,", ".;:)")
	f.Add("", "", "", "\x00\n\xff")
	f.Fuzz(func(t *testing.T, user, password, query, fragment string) {
		const want = "https://site.example/a%20b"
		for _, source := range []string{
			(&url.URL{Scheme: "https", User: url.UserPassword(user, password), Host: "site.example", Path: "/a b", RawQuery: "sig=" + url.QueryEscape(query) + "&end=1"}).String(),
			(&url.URL{Scheme: "https", User: url.User(user), Host: "site.example", Path: "/a b", Fragment: fragment + "end"}).String(),
		} {
			if got := Show(source); got != want {
				t.Errorf("%q: got %q", source, got)
			}
			if got := ShowAll("reading <" + source + ">: " + source + ": refused"); got != "reading <"+want+">: "+want+": refused" {
				t.Errorf("%q: got %q", source, got)
			}
		}
	})
}

// What is shown has no query, fragment or user, whether the URL parses or not. What is
// not a URL is shown unchanged.
func FuzzShowBroken(f *testing.F) {
	for _, source := range []string{"https://me:sec?ret@site.example/a", "https://me:secret@site.example/%zz?secret", "https://[::1/?secret", "/path?with=query#and", "http://@", "HTTP://a b@c"} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		got := Show(source)
		if !IsURL(source) {
			if got != source {
				t.Errorf("%q: got %q", source, got)
			}
			return
		}
		_, rest, _ := strings.Cut(got, "://")
		host, _, _ := strings.Cut(rest, "/")
		if strings.ContainsAny(got, "?#") || strings.Contains(host, "@") {
			t.Errorf("%q: got %q", source, got)
		}
	})
}

// An address has no fragment, and its checksum is empty or has 64 digits.
func FuzzSplit(f *testing.F) {
	sum := strings.Repeat("A1", 32)
	for _, source := range []string{"https://h/x#sha256=" + sum, "/path/with#hash", "http://h/#", "https://h/x#sha256=" + sum + "#"} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		address, sum, err := Split(source)
		switch {
		case err != nil:
			if fault.KindOf(err) != fault.Usage || address != "" || sum != "" {
				t.Errorf("%q: %q, %q, kind %d: %v", source, address, sum, fault.KindOf(err), err)
			}
		case sum == "":
			if address != source {
				t.Errorf("%q: got %q", source, address)
			}
		case len(sum) != 64 || !strings.EqualFold(address+"#sha256="+sum, source):
			t.Errorf("%q: got %q and %q", source, address, sum)
		}
	})
}
