package matrix

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/kernel/flavor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// environments are the environments of the golden files, and of upstream's runs.
var environments = map[string]map[string]string{
	"default":   {},
	"lts":       {"CI_TAGS": "lts"},
	"two-tags":  {"CI_TAGS": " lts\tdev "},
	"no-flavor": {"CI_TAGS": "unknown"},
	"upstreams-workflow": {
		"CI_TAGS":                         "standard armbian-sbc armbian-uefi lts",
		"CI_RUNNERS_SELF_HOSTED_TAG":      "none",
		"CI_RUNNER_LK_CONTAINERS_ARM64":   "ubuntu-24.04-arm",
		"CI_RUNNER_LK_CONTAINERS_AMD64":   "ubuntu-latest",
		"CI_RUNNER_KERNEL_SOURCE_AMD64":   "oracle-16cpu-64gb-x86-64",
		"CI_RUNNER_KERNEL_SOURCE_ARM64":   "oracle-16cpu-64gb-arm64",
		"CI_RUNNER_KERNEL_EXTERNAL_ARM64": "ubuntu-24.04-arm",
	},
	"self-hosted": {"CI_RUNNER": "big  box", "CI_RUNNER_ARM64": "arm-box", "CI_RUNNER_KERNEL": "kernel-box", "CI_RUNNER_KERNEL_EXTERNAL": "ubuntu-external x", "CI_RUNNER_LK_AMD64": "lk-box"},
	"own-mark":    {"CI_RUNNER": "box", "CI_RUNNERS_SELF_HOSTED_TAG": "mine", "CI_RUNNER_LK": "", "CI_RUNNER_BOOTABLE_ARM64": "arm board"},
}

func matrixOf(t *testing.T, env map[string]string) Matrix {
	t.Helper()
	variable := func(key string) string { return env[key] }
	m, err := Make(Inventory{flavor.Upstream().All(), flavor.Bootables()}, DefaultTags(variable), variable)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGolden(t *testing.T) {
	for name, env := range environments {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := matrixOf(t, env).Write(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				t.Error("the golden file is new: look at it")
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOutputsAreOneLineOfJSON(t *testing.T) {
	outputs, err := matrixOf(t, map[string]string{"CI_TAGS": "none", "CI_RUNNER": "<&>"}).outputs()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, o := range outputs {
		names = append(names, o.Name)
		if o.JSON != "[]" {
			t.Errorf("%s is %q, not an empty list", o.Name, o.JSON)
		}
	}
	if diff := cmp.Diff([]string{"kernels_json", "lk_hooks_json", "lkcontainers_json", "bootable_json"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestMediaOfUnknownFlavors(t *testing.T) {
	_, err := Make(Inventory{Bootables: flavor.Bootables()}, nil, func(string) string { return "" })
	if err == nil || !strings.Contains(err.Error(), "grub-amd64") {
		t.Errorf("got %v", err)
	}
}

func TestInventoryIsWhole(t *testing.T) {
	byID := map[string]bool{}
	for _, f := range flavor.Upstream().All() {
		byID[f.ID] = true
	}
	for _, b := range flavor.Bootables() {
		if !byID[b.Flavor] {
			t.Errorf("%s is made of %s, which is not in %v", b.ID, b.Flavor, slices.Sorted(maps.Keys(byID)))
		}
	}
}
