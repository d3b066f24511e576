//go:build upstream

package matrix

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/test/testneed"
)

// TestUpstreamPrintsTheSame compares with build.sh in the checkout of
// tinkerbell/hook that HOOKBUILD_UPSTREAM_HOOK names:
//
//	HOOKBUILD_UPSTREAM_HOOK=../hook go test -tags upstream ./build/matrix
//
// It has a build tag because the checkout must be fetched from the network.
func TestUpstreamPrintsTheSame(t *testing.T) {
	checkout := os.Getenv("HOOKBUILD_UPSTREAM_HOOK")
	bash := testneed.Tool(t, "bash")
	const script = `for f in inventory common cli docker kernel bootable-media json-matrix bootable/grub bootable/armbian-u-boot bootable/rpi; do source "bash/$f.sh"; done
produce_kernels_flavours_inventory; skip_jq=yes output_gha_matrixes`
	for name, env := range environments {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "output")
			cmd := exec.CommandContext(t.Context(), bash, "-ec", script)
			cmd.Dir = checkout
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GITHUB_OUTPUT=" + output}
			for k, v := range env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			theirs, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			var ours bytes.Buffer
			if err := matrixOf(t, env).Write(&ours); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(unordered(t, string(theirs)), unordered(t, ours.String())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// unordered returns the entries of each output, sorted as text.
func unordered(t *testing.T, text string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		name, list, _ := strings.Cut(strings.TrimSpace(line), "=")
		var entries []json.RawMessage
		if err := json.Unmarshal([]byte(list), &entries); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all[name] = []string{}
		for _, e := range entries {
			all[name] = append(all[name], string(e))
		}
		slices.Sort(all[name])
	}
	return all
}
