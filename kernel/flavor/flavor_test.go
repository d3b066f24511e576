package flavor

import (
	"strings"
	"testing"
)

func TestOutputID(t *testing.T) {
	for id, want := range map[string]string{
		"hook-default-amd64":      "x86_64",
		"hook-default-arm64":      "aarch64",
		"hook-latest-lts-amd64":   "latest-lts-x86_64",
		"hook-latest-lts-arm64":   "latest-lts-aarch64",
		"peg-default-amd64":       "peg-default-amd64",
		"armbian-uefi-x86-edge":   "armbian-uefi-x86-edge",
		"armbian-bcm2711-current": "armbian-bcm2711-current",
	} {
		f, err := Upstream().Find(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.OutputID(""); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
	f, err := Upstream().Find("hook-default-amd64")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.OutputID("mine"); got != "mine-x86_64" {
		t.Errorf("forced: got %q", got)
	}
	f.Config = "site"
	if got := f.OutputID(""); got != "site-5.10.y-x86_64" {
		t.Errorf("own configuration: got %q", got)
	}
}

func TestFindListsTheFlavors(t *testing.T) {
	_, err := Upstream().Find("hook-latest-amd64")
	if err == nil || !strings.Contains(err.Error(), "hook-latest-lts-amd64") {
		t.Errorf("got %v", err)
	}
}

func TestFindNamesTheOneThatMayBeMeant(t *testing.T) {
	for id, want := range map[string]string{
		"hook-latest-lts-amd46": "(did you mean hook-latest-lts-amd64?)",
		"hook-default-x86":      "(did you mean hook-default-amd64?)",
		"armbian-uefi-x86-egde": "(did you mean armbian-uefi-x86-edge?)",
		"something":             "of that name; the flavors",
		"":                      "of that name; the flavors",
	} {
		_, err := Upstream().Find(id)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", id, err, want)
		}
	}
}

func TestConfigPath(t *testing.T) {
	f, err := Upstream().Find("hook-latest-lts-arm64")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.ConfigPath(), "kernel/configs/generic-6.6.y-aarch64"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSibling(t *testing.T) {
	in := Upstream()
	for id, want := range map[string]string{
		"hook-latest-lts-amd64": "hook-latest-lts-arm64", "hook-default-arm64": "hook-default-amd64",
		"armbian-uefi-x86-edge": "armbian-uefi-arm64-edge", "armbian-uefi-arm64-edge": "armbian-uefi-x86-edge",
		"armbian-meson64-edge": "", "peg-default-amd64": "",
	} {
		f, err := in.Find(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := in.Sibling(f); got.ID != want {
			t.Errorf("the sibling of %s is %q, want %q", id, got.ID, want)
		}
	}
}
