package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestCacheKinds holds what a build leaves in the cache to the kinds that are explained,
// in the help and in docs/reference.md.
func TestCacheKinds(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range cacheKinds() {
		known[k.name] = true
		if want := "| `" + k.name + "` | " + k.what + " |"; !strings.Contains(string(page), want) {
			t.Errorf("docs/reference.md lacks %s", want)
		}
	}
	var report cacheReport
	if err := json.Unmarshal([]byte(newSmallProof(t).run(0, "cache", "ls", "--json").stdout), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Kinds) < 5 {
		t.Errorf("the cache has %v", report.Kinds)
	}
	for _, u := range report.Kinds {
		if !known[u.Kind] {
			t.Errorf("the kind %s is not explained", u.Kind)
		}
	}
}
