package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hookbuild/test/testneed"
)

const (
	actionFile = "../../action.yml"
	actionlint = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
)

// action is the composite action at the root of the repository.
type action struct {
	Inputs map[string]struct{ Description, Default string }
	Runs   struct {
		Using string
		Steps []struct{ Name, Run, Shell, Uses string }
	}
}

func readAction(t *testing.T) (action, string) {
	t.Helper()
	text, err := os.ReadFile(actionFile)
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a, string(text)
}

func TestActionTrustsLittle(t *testing.T) {
	a, _ := readAction(t)
	pinned := regexp.MustCompile(`^actions/[a-z-]+@[0-9a-f]{40}$`)
	uses := 0
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("GitHub pastes text into %q", s.Name)
		}
		if s.Uses != "" {
			uses++
			if !pinned.MatchString(s.Uses) {
				t.Errorf("%q uses %q, which is not pinned by commit", s.Name, s.Uses)
			}
		}
	}
	if a.Runs.Using != "composite" || uses != 1 {
		t.Errorf("a %q action with %d other actions", a.Runs.Using, uses)
	}
}

// TestActionPassesActionlint lints the steps as those of a reusable workflow with
// the same inputs, because actionlint reads only the inputs and outputs of an
// action, and lints a workflow that calls the action.
func TestActionPassesActionlint(t *testing.T) {
	goTool, shellcheck := testneed.Tool(t, "go"), testneed.Tool(t, "shellcheck")
	a, text := readAction(t)
	_, steps, found := strings.Cut(text, "\n  steps:\n")
	if !found {
		t.Fatal("the action has no steps")
	}
	inputs, calls := "", ""
	for name := range a.Inputs {
		inputs += "      " + name + ":\n        type: string\n"
		calls += "          " + name + ": 'x'\n"
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"action.yml":                  text,
		".github/workflows/steps.yml": "on:\n  workflow_call:\n    inputs:\n" + inputs + "jobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n  " + strings.ReplaceAll(steps, "\n    ", "\n      "),
		".github/workflows/calls.yml": "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - id: it\n        uses: ./\n        with:\n" + calls + "      - run: echo ${{ steps.it.outputs.version }}\n",
	} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil { // actionlint takes it for the root
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "actionlint")
	build := exec.CommandContext(t.Context(), goTool, "install", actionlint)
	build.Env = append(os.Environ(), "GOBIN="+filepath.Dir(binary))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-shellcheck", shellcheck)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// actionRunner runs the steps of the action.
type actionRunner struct {
	*runner
	action action
	env    []string
}

// newActionRunner returns a runner on this machine's platform and a directory
// that is served as the files of the release v1.2.3 of someone/hookbuild.
func newActionRunner(t *testing.T) (*actionRunner, string) {
	t.Helper()
	dir := t.TempDir()
	mux := http.NewServeMux()
	mux.Handle("/someone/hookbuild/releases/download/v1.2.3/", http.StripPrefix("/someone/hookbuild/releases/download/v1.2.3/", http.FileServer(http.Dir(dir))))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	a, _ := readAction(t)
	r := &actionRunner{&runner{dir: t.TempDir()}, a, []string{
		"GITHUB_SERVER_URL=" + server.URL, "REPOSITORY=someone/hookbuild", "VERSION=v1.2.3", "NO_PROXY=127.0.0.1",
		"RUNNER_OS=" + map[string]string{"linux": "Linux", "darwin": "macOS"}[runtime.GOOS],
		"RUNNER_ARCH=" + map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH],
	}}
	r.write(t, "temp/.keep", "", 0o644)
	return r, dir
}

// run runs the step's script as GitHub does, later values of env before earlier.
func (r *actionRunner) run(t *testing.T, name string, env ...string) (string, error) {
	t.Helper()
	for _, s := range r.action.Runs.Steps {
		if s.Name != name {
			continue
		}
		if s.Shell != "bash" {
			t.Errorf("the step %q runs in %q", name, s.Shell)
		}
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = r.dir
		cmd.Env = append(append([]string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "RUNNER_TEMP=" + r.dir + "/temp",
			"GITHUB_OUTPUT=" + r.dir + "/output", "GITHUB_PATH=" + r.dir + "/path",
		}, r.env...), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Fatalf("the action has no step %q", name)
	return "", nil
}

func (r *actionRunner) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// TestActionInstallsAndRuns makes a release of the real program, installs it as
// the action does, and runs commands with it.
func TestActionInstallsAndRuns(t *testing.T) {
	testneed.Tool(t, "curl")
	r, served := newActionRunner(t)
	archive := makeRelease(t, served)
	if out, err := r.run(t, "Install hookbuild"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := r.read(t, "output"); got != "version=v1.2.3\ncache-dir="+r.dir+"/.cache/hookbuild" && runtime.GOOS == "linux" {
		t.Errorf("outputs\n%s", got)
	}
	path := "PATH=" + r.read(t, "path") + ":" + os.Getenv("PATH")
	for command, want := range map[string]string{
		"flavors --json":                `"id": "hook-default-amd64"`,
		"matrix\n  --tags lts\n":        "kernels_json=[{",
		"help 'no such  command'":       "no such  command",
		`help "$(touch made)"`:          "$(touch made)",
		"matrix --tags 'lts":            "a quote is not closed",
		"matrix --tags *":               `the tag "*"`,
		"version;touch made":            "version;touch",
		"matrix --tags lts CI_RUNNER=x": `"runner":["self-hosted","x"]`,
	} {
		out, _ := r.run(t, "Run hookbuild", path, "HOOKBUILD_COMMAND="+command) // some fail, as they should
		if !strings.Contains(out, want) {
			t.Errorf("%q printed\n%s", command, out)
		}
	}
	if out, err := r.run(t, "Run hookbuild", path, "HOOKBUILD_COMMAND=matrix --tags unknown"); err == nil {
		t.Errorf("a command that fails passes: %s", out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "made")); err == nil {
		t.Error("the command was expanded by a shell")
	}
	checkRefusals(t, r, served, archive)
}

// makeRelease writes a release of this machine's platform as v1.2.3 to dir and
// returns the archive's name.
func makeRelease(t *testing.T, dir string) string {
	t.Helper()
	t.Chdir("../..")
	platform := runtime.GOOS + "/" + runtime.GOARCH
	files, err := release(t.Context(), dir, []string{platform}, "1700000000")
	if err != nil {
		t.Fatal(err)
	}
	archive := "hookbuild_1.2.3_" + strings.ReplaceAll(platform, "/", "_") + ".tar.gz"
	made := slices.IndexFunc(files, func(name string) bool { return strings.HasSuffix(name, ".tar.gz") })
	if err := os.Rename(filepath.Join(dir, files[made]), filepath.Join(dir, archive)); err != nil {
		t.Fatal(err)
	}
	if err := writeSums(dir, "checksums.txt", []string{archive}); err != nil {
		t.Fatal(err)
	}
	return archive
}

// checkRefusals checks that nothing is installed where something is wrong.
func checkRefusals(t *testing.T, r *actionRunner, served, archive string) {
	t.Helper()
	sums := filepath.Join(served, "checksums.txt")
	for say, prepare := range map[string]func() []string{
		`"main" is not a release`:      func() []string { return []string{"VERSION=main"} },
		`"v1.2.3/../x" is not a`:       func() []string { return []string{"VERSION=v1.2.3/../x"} },
		"could not be downloaded":      func() []string { return []string{"VERSION=v9.9.9"} },
		"no release for Windows":       func() []string { return []string{"RUNNER_OS=Windows"} },
		"does not have the checksum":   func() []string { return overwrite(t, sums, strings.Repeat("0", 64)+"  "+archive+"\n") },
		"does not list " + archive:     func() []string { return overwrite(t, sums, strings.Repeat("0", 64)+"  other.tar.gz\n") },
		"no properly formatted":        func() []string { return overwrite(t, sums, "short  "+archive+"\n") },
		"checksums.txt of the release": func() []string { return overwrite(t, sums, "") },
	} {
		before := r.read(t, "path")
		out, err := r.run(t, "Install hookbuild", prepare()...)
		if err == nil || !strings.Contains(out, say) {
			t.Errorf("want %q: %v\n%s", say, err, out)
		}
		if r.read(t, "path") != before {
			t.Errorf("%q: hookbuild was installed", say)
		}
	}
}

func overwrite(t *testing.T, name, content string) []string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(fmt.Errorf("preparing the release: %w", err))
	}
	return nil
}
