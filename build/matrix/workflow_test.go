package matrix

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
	"hookbuild/test/testneed"
)

const (
	workflowFile = "../../.github/workflows/hookos.yml"
	actionlint   = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
)

// TestWorkflowPassesActionlint checks the workflow with actionlint and the scripts
// in it with shellcheck.
func TestWorkflowPassesActionlint(t *testing.T) {
	goTool := testneed.Tool(t, "go")
	shellcheck := testneed.Tool(t, "shellcheck")
	out, err := exec.CommandContext(t.Context(), goTool, "run", actionlint, "-shellcheck", shellcheck, workflowFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWorkflowTrustsLittle checks that actions are pinned, permissions are few, and
// GitHub expands no expression in a script.
func TestWorkflowTrustsLittle(t *testing.T) {
	text, err := os.ReadFile(workflowFile)
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`^\s*uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); strings.Contains(line, "uses:") && !pinned.MatchString(line) {
			t.Errorf("not pinned by commit with the version in a comment: %q", line)
		}
	}
	if strings.Contains(string(text), "secrets.") || strings.Count(string(text), "permissions:") != 1 {
		t.Error("it uses secrets, or grants permissions to a job")
	}
	w := readWorkflow(t)
	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("permissions %v", w.Permissions)
	}
	for job, j := range w.Jobs {
		if j.Timeout == 0 {
			t.Errorf("job %q has no timeout", job)
		}
		for _, s := range j.Steps {
			if strings.Contains(s.Run, "${{") {
				t.Errorf("GitHub expands an expression in the script of %q", s.Name)
			}
		}
	}
}

type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Timeout int `yaml:"timeout-minutes"`
		Steps   []step
	}
}

type step struct {
	Name, Run string
	Directory string `yaml:"working-directory"`
}

func readWorkflow(t *testing.T) workflow {
	t.Helper()
	text, err := os.ReadFile(workflowFile)
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// stepRunner runs steps of the workflow as GitHub's runners do, in its own
// directory, with stand-ins for programs that only a runner has.
type stepRunner struct {
	workflow workflow
	dir      string
	env      []string
}

func newStepRunner(t *testing.T) *stepRunner {
	t.Helper()
	dir := t.TempDir()
	r := &stepRunner{workflow: readWorkflow(t), dir: dir, env: []string{
		"PATH=" + dir + "/stand-ins:" + os.Getenv("PATH"), "HOME=" + dir, "GITHUB_WORKSPACE=" + dir, "RUNNER_TEMP=" + dir + "/temp",
		"GITHUB_OUTPUT=" + dir + "/output", "GITHUB_STEP_SUMMARY=" + dir + "/summary", standInEnv + "=" + dir,
	}}
	for _, d := range []string{"stand-ins", "temp", "bin", "hook"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// run runs the script of the step and returns its output.
func (r *stepRunner) run(t *testing.T, job, name string, env ...string) (string, error) {
	t.Helper()
	for _, s := range r.workflow.Jobs[job].Steps {
		if s.Name != name {
			continue
		}
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = filepath.Join(r.dir, s.Directory)
		cmd.Env = append(r.env, env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Fatalf("the job %q has no step %q", job, name)
	return "", nil
}

func (r *stepRunner) mustRun(t *testing.T, job, name string, env ...string) {
	t.Helper()
	if out, err := r.run(t, job, name, env...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// read returns the content of a file below the runner's directory.
func (r *stepRunner) read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (r *stepRunner) write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	full := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

// standInEnv makes this test program stand in for hookbuild; its value is the
// runner's directory.
const standInEnv = "HOOKBUILD_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(standInEnv); dir != "" {
		if err := standIn(dir, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// standIn is a hookbuild whose matrix command is the real one, and whose other
// commands only record their arguments.
func standIn(dir string, args []string) error {
	if args[0] == "matrix" {
		m, err := Make(Inventory{flavor.Upstream().All(), flavor.Bootables()}, DefaultTags(os.Getenv), os.Getenv)
		if err != nil {
			return err
		}
		f, err := os.Create(os.Getenv("GITHUB_OUTPUT"))
		if err != nil {
			return err
		}
		return errors.Join(m.Write(f), f.Close())
	}
	return os.WriteFile(filepath.Join(dir, "args"), []byte(strings.Join(args, "\n")), 0o644)
}

// installStandIn puts this program where the workflow looks for hookbuild.
func (r *stepRunner) installStandIn(t *testing.T, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(r.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestMatrixJob(t *testing.T) {
	r := newStepRunner(t)
	r.write(t, "stand-ins/go", "#!/bin/sh\necho \"$CGO_ENABLED $GOARCH $*\" >> \"$GITHUB_WORKSPACE/compiled\"\n", 0o755)
	r.mustRun(t, "matrix", "Compile hookbuild")
	const want = "0 amd64 build -C hookbuild -trimpath -o DIR/bin/hookbuild-x86_64 ./cmd/hookbuild\n0 arm64 build -C hookbuild -trimpath -o DIR/bin/hookbuild-aarch64 ./cmd/hookbuild\n"
	if got := strings.ReplaceAll(r.read(t, "compiled"), r.dir, "DIR"); got != want {
		t.Errorf("compiled\n%s", got)
	}
	r.installStandIn(t, "bin/hookbuild-x86_64")
	r.mustRun(t, "matrix", "Choose flavors and runners", "CI_TAGS=standard lts")
	out := r.read(t, "output")
	for _, word := range []string{"kernels_json=[{", `"kernel":"hook-latest-lts-arm64"`, `"runner":["ubuntu-24.04-arm"]`, "lk_hooks_json=[{"} {
		if !strings.Contains(out, word) {
			t.Errorf("outputs without %q:\n%s", word, out)
		}
	}
}

// compiled returns the path of the real hookbuild.
func compiled(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "hookbuild")
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, "go"), "build", "-o", binary, "hookbuild/cmd/hookbuild").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// told runs a step with a stand-in for hookbuild and returns the arguments that it
// got, which the real program must accept.
func (r *stepRunner) told(t *testing.T, binary, job, step string, env ...string) string {
	t.Helper()
	for _, machine := range []string{"x86_64", "aarch64"} {
		r.installStandIn(t, "bin/hookbuild-"+machine)
	}
	r.mustRun(t, job, step, append(env, "FLAVOR=hook-latest-lts-amd64")...)
	args := strings.Split(r.read(t, "args"), "\n")
	wantInvalid(t, binary, args)
	return strings.Join(args, " ")
}

func TestKernelJob(t *testing.T) {
	const want = "kernel hook-latest-lts-amd64 --hook-dir hook --no-load --export kernel.tar"
	if got := newStepRunner(t).told(t, compiled(t), "kernel", "Make the kernel image"); got != want {
		t.Errorf("the arguments are\n%s\nnot\n%s", got, want)
	}
}

// TestHookOSJob passes the arguments of the workflow to the real program, which
// must accept them and fail only for want of a checkout.
func TestHookOSJob(t *testing.T) {
	binary := compiled(t)
	const always = "all hook-latest-lts-amd64 --hook-dir hook --cache-dir cache --out out"
	for name, tt := range map[string]struct {
		env    []string
		kernel bool
		want   string
	}{
		"nothing on board": {nil, false, always},
		"own kernel":       {nil, true, always + " --kernel image:docker-archive:kernel.tar"},
		"a release":        {[]string{"EKSA_VERSION=v0.24.2"}, false, always + " --embed-from-bundle --eksa-version v0.24.2"},
		"the latest":       {[]string{"EKSA_VERSION=latest", "WORKER_IMAGE=r.example/agent:1"}, true, always + " --kernel image:docker-archive:kernel.tar --embed-from-bundle --worker-image r.example/agent:1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newStepRunner(t)
			if tt.kernel {
				r.write(t, "kernel.tar", "", 0o644)
			}
			if got := r.told(t, binary, "hookos", "Build HookOS", tt.env...); got != tt.want {
				t.Errorf("the arguments are\n%s\nnot\n%s", got, tt.want)
			}
		})
	}
}

// wantInvalid runs hookbuild without a checkout. Arguments that it does not know
// would be a usage error instead.
func wantInvalid(t *testing.T, binary string, args []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append(args, "--offline")...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() == int(fault.Usage) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestChecksumsJob(t *testing.T) {
	r := newStepRunner(t)
	for _, one := range []string{"hookos-a", "hookos-b"} {
		sums := ""
		for _, file := range []string{"vmlinuz-x86_64", "initramfs-x86_64"} {
			r.write(t, "hookos/"+one+"/hook/"+file, one+file, 0o644)
			sums += fmt.Sprintf("%x  %s\n", sha512.Sum512([]byte(one+file)), file)
		}
		r.write(t, "hookos/"+one+"/hook/checksums.txt", sums, 0o644)
		r.write(t, "hookos/"+one+"/hook_x86_64.tar.gz", one, 0o644)
	}
	const check = "Check what arrived and sum it up"
	r.mustRun(t, "checksums", check)
	if got := strings.Count(r.read(t, "hookos/checksums.txt"), "\n"); got != 6 {
		t.Errorf("%d checksums, want 6", got)
	}
	if !strings.Contains(r.read(t, "summary"), "hookos-b/hook/vmlinuz-x86_64") {
		t.Error("the summary lacks a file")
	}
	r.write(t, "hookos/hookos-a/hook/vmlinuz-x86_64", "damaged", 0o644)
	if out, err := r.run(t, "checksums", check); err == nil {
		t.Errorf("a damaged file was not noticed: %s", out)
	}
}
