package plan

import (
	"slices"
	"strings"
	"testing"

	"hookbuild/kernel/source"
)

// A lock is written as it was read, and a new pin replaces only that of its series.
func FuzzParseLock(f *testing.F) {
	sum := strings.Repeat("0a", 32)
	f.Add("# comment\n6.6.32 sha256:" + sum + "\n\n5.10 sha256:" + sum + "\r\n")
	f.Add("6.6.32 sha256:" + sum + "\n6.6.33 sha256:" + sum)
	f.Add("6.12.1 sha256:" + sum + "\n6.6.32 sha256:" + sum + "\n")
	f.Add("6.6.32\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLock(text)
		if err != nil {
			return
		}
		if got, want := strings.TrimRight(l.String(), "\r\n"), strings.TrimRight(text, "\r\n"); strings.ReplaceAll(got, "\r", "") != strings.ReplaceAll(want, "\r", "") {
			t.Errorf("got %q, want %q", got, want)
		}
		added := Pin{source.Version{Major: 6, Minor: 6, Point: 99}, sum}
		with, err := parseLock(l.with(added).String())
		if err != nil {
			t.Fatal(err)
		}
		if got, found := with.Find("6.6"); !found || got != added {
			t.Errorf("got %v, want %v", got, added)
		}
		if got, want := others(with), others(l); !slices.Equal(got, want) {
			t.Errorf("got the other pins %v, want %v", got, want)
		}
	})
}

// others returns the pins of other series than 6.6.
func others(l Lock) []Pin {
	var pins []Pin
	for _, line := range l.lines {
		if line.pin != nil && line.pin.Version.Series() != "6.6" {
			pins = append(pins, *line.pin)
		}
	}
	return pins
}
