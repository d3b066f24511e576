package matrix

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
	"hookbuild/test/testneed"
)

func TestGitLabGolden(t *testing.T) {
	env := map[string]string{"CI_TAGS": "standard dev", "CI_RUNNER_KERNEL_SOURCE": "big box", "CI_RUNNER_LK_ARM64": "arm"}
	m := matrixOf(t, env)
	var got bytes.Buffer
	if err := m.WriteGitLab(&got, func(key string) string { return env[key] }, "--hook-dir", "my hook"); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "gitlab.yml")
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
}

// TestGitLabNeedsExist checks that every job waits only for jobs of the pipeline,
// also when kernels were left out.
func TestGitLabNeedsExist(t *testing.T) {
	none := func(string) string { return "" }
	const published = "registry.example/hook-kernel:5.10.1-abc"
	m, err := matrixOf(t, map[string]string{"CI_TAGS": "standard dev lts"}).Without(func(id string) (string, error) {
		if id == "hook-default-amd64" {
			return published, nil
		}
		return "", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := m.WriteGitLab(&text, none); err != nil {
		t.Fatal(err)
	}
	var p pipeline
	if err := yaml.Unmarshal(text.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Jobs) != len(m.Kernels)+len(m.Hooks) {
		t.Errorf("%d jobs for %d kernels and %d HookOS", len(p.Jobs), len(m.Kernels), len(m.Hooks))
	}
	for name, j := range p.Jobs {
		takes := strings.Contains(j.Script[0], "--kernel image:docker-archive:kernel.tar")
		if takes != (len(j.Needs) == 1) {
			t.Errorf("%s needs %q and runs %q", name, j.Needs, j.Script)
		}
		for _, need := range j.Needs {
			if _, ok := p.Jobs[need]; !ok {
				t.Errorf("%s needs %q, which is not in the pipeline", name, need)
			}
		}
	}
	for _, name := range []string{"hookos hook-default-amd64", "hookos peg-default-amd64"} {
		if j := p.Jobs[name]; len(j.Script) != 1 || len(j.Needs) != 0 || !strings.Contains(j.Script[0], "--kernel image:"+published) {
			t.Errorf("%s: %+v", name, j)
		}
	}
	if err := (Matrix{}).WriteGitLab(&text, none); fault.KindOf(err) != fault.Usage {
		t.Errorf("an empty pipeline: %v", err)
	}
}

// TestGitLabScriptsRun passes the commands of the pipeline through a shell to the
// real program, which must accept them and fail only for want of a checkout.
func TestGitLabScriptsRun(t *testing.T) {
	binary := compiled(t)
	var text bytes.Buffer
	none := func(string) string { return "" }
	if err := matrixOf(t, map[string]string{"CI_TAGS": "lts"}).WriteGitLab(&text, none, "--hook-dir", "it's mine", "HOOK_KERNEL_OCI_BASE=r.example/hook-kernel"); err != nil {
		t.Fatal(err)
	}
	var p pipeline
	if err := yaml.Unmarshal(text.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	for name, j := range p.Jobs {
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "sh"), "-ec", j.Script[0]+" --offline")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() == int(fault.Usage) || !strings.Contains(string(out), "it's mine") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestJSON(t *testing.T) {
	var text bytes.Buffer
	m := matrixOf(t, map[string]string{"CI_TAGS": "lts"})
	m.Media = nil
	if err := m.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var back map[string][]map[string]any
	if err := json.Unmarshal(text.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back["kernels"]) != 2 || back["hooks"][0]["kernel"] != "hook-latest-lts-amd64" || len(back["containers"]) != 2 || back["media"] == nil {
		t.Errorf("got %s", text.String())
	}
}

func TestCheckTags(t *testing.T) {
	in := Inventory{flavor.Upstream().All(), flavor.Bootables()}
	if err := in.CheckTags([]string{"standard", "lts", "armbian-uefi"}); err != nil {
		t.Error(err)
	}
	err := in.CheckTags([]string{"lts", "standart"})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "did you mean standard?") {
		t.Errorf("got %v", err)
	}
}
