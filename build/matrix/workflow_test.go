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
	"hookbuild/test/testneed"
)

const (
	reusable   = "../../.github/workflows/build-hookos.yml"
	copied     = "../../docs/workflows/hookos.yml"
	updater    = "../../docs/workflows/update.yml"
	actionlint = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
)

// TestWorkflowsPassActionlint checks the workflows with actionlint and the scripts
// in them with shellcheck.
func TestWorkflowsPassActionlint(t *testing.T) {
	goTool := testneed.Tool(t, "go")
	shellcheck := testneed.Tool(t, "shellcheck")
	out, err := exec.CommandContext(t.Context(), goTool, "run", actionlint, "-shellcheck", shellcheck, reusable, copied, updater).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWorkflowsTrustLittle checks that actions are pinned, permissions are few, and
// GitHub expands no expression in a script.
func TestWorkflowsTrustLittle(t *testing.T) {
	for file, permissions := range map[string]int{reusable: 0, copied: 2, updater: 2} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pinned := regexp.MustCompile(`^\s*(- )?uses: (actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.hookbuild|OWNER/hookbuild(/\.github/workflows/build-hookos\.yml)?@vX\.Y\.Z)$`)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if strings.Contains(line, "uses:") && !strings.HasPrefix(line, "#") && !pinned.MatchString(line) {
				t.Errorf("%s: not pinned by commit with the version in a comment: %q", file, line)
			}
		}
		// The reusable workflow may do what its caller grants.
		if strings.Contains(string(text), "secrets.") || strings.Count(string(text), "permissions:") != permissions {
			t.Errorf("%s uses secrets, or grants other permissions", file)
		}
		w := readWorkflow(t, file)
		if permissions > 0 && (len(w.Permissions) != 1 || w.Permissions["contents"] != "read") {
			t.Errorf("%s: permissions %v", file, w.Permissions)
		}
		for job, j := range w.Jobs {
			if j.Timeout == 0 && j.Uses == "" {
				t.Errorf("%s: job %q has no timeout", file, job)
			}
			for _, s := range j.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: GitHub expands an expression in the script of %q", file, s.Name)
				}
			}
		}
	}
}

// TestCopiedWorkflowCalls compares what the copied workflow passes with the inputs of
// the reusable one, and these with those of a run by hand.
func TestCopiedWorkflowCalls(t *testing.T) {
	inputs := readWorkflow(t, reusable).On
	for name := range readWorkflow(t, copied).Jobs["hookos"].With {
		if _, ok := inputs.Call.Inputs[name]; !ok {
			t.Errorf("the reusable workflow has no input %q", name)
		}
	}
	for name := range inputs.Dispatch.Inputs {
		if _, ok := inputs.Call.Inputs[name]; !ok {
			t.Errorf("an input by hand, %q, is not one of a call", name)
		}
	}
	required := 0
	for _, i := range inputs.Call.Inputs {
		if i.Required {
			required++
		}
	}
	if required != 1 {
		t.Errorf("a call needs %d inputs", required)
	}
}

type workflow struct {
	On struct {
		Call     inputs `yaml:"workflow_call"`
		Dispatch inputs `yaml:"workflow_dispatch"`
	}
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses    string
		With    map[string]string
		Timeout int `yaml:"timeout-minutes"`
		Steps   []step
	}
}

type inputs struct {
	Inputs map[string]struct{ Required bool }
}

type step struct {
	Name, Run string
	Directory string `yaml:"working-directory"`
}

func readWorkflow(t *testing.T, file string) workflow {
	t.Helper()
	text, err := os.ReadFile(file)
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

func newStepRunner(t *testing.T, file string) *stepRunner {
	t.Helper()
	dir := t.TempDir()
	r := &stepRunner{workflow: readWorkflow(t, file), dir: dir, env: []string{
		"PATH=" + dir + "/stand-ins:" + os.Getenv("PATH"), "HOME=" + dir, "GITHUB_WORKSPACE=" + dir, "RUNNER_TEMP=" + dir + "/temp",
		"GITHUB_OUTPUT=" + dir + "/output", "GITHUB_STEP_SUMMARY=" + dir + "/summary", standInEnv + "=" + dir,
	}}
	for _, d := range []string{"stand-ins", "temp"} {
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

// standIn is a hookbuild that records its arguments and prints a reference, as push
// does.
func standIn(dir string, args []string) error {
	fmt.Println("registry.example/hookos@sha256:0")
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

func TestReadWhichHookbuild(t *testing.T) {
	const step = "Read which hookbuild builds"
	r := newStepRunner(t, reusable)
	r.mustRun(t, "matrix", step, "HOOKBUILD=some.one/hookbuild@v1.2.3-rc.1")
	if got := r.read(t, "output"); got != "repository=some.one/hookbuild\nversion=v1.2.3-rc.1\n" {
		t.Errorf("outputs\n%s", got)
	}
	for _, wrong := range []string{"someone/hookbuild@main", "hookbuild@v1.2.3", "a/b/c@v1.2.3", "someone/hookbuild", "x/y@v1.2.3;touch made"} {
		if out, err := r.run(t, "matrix", step, "HOOKBUILD="+wrong); err == nil || !strings.Contains(out, "does not name a release of hookbuild") {
			t.Errorf("%q: %v\n%s", wrong, err, out)
		}
	}
}

// TestMatrixJob runs the real program. No registry answers, so every kernel has a job.
func TestMatrixJob(t *testing.T) {
	r := newStepRunner(t, reusable)
	if err := os.Symlink(compiled(t), filepath.Join(r.dir, "stand-ins/hookbuild")); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		r.write(t, ".hook/kernel/configs/generic-6.6.y-"+arch, "CONFIG_X=y\n", 0o644)
	}
	r.write(t, ".hook/kernel/Dockerfile", "FROM x\n", 0o644)
	r.write(t, ".hook/linuxkit-templates/hook.template.yaml", "init: []\n", 0o644)
	const step = "Choose flavors and runners"
	env := []string{"TAGS=lts", "KERNELS=127.0.0.1:1/hook-kernel", "KERNEL_POINT_RELEASE=7"}
	r.mustRun(t, "matrix", step, env...)
	out := r.read(t, "output")
	for _, word := range []string{"kernels_json=[{", `"kernel":"hook-latest-lts-arm64"`, `"runner":["ubuntu-24.04-arm"]`, "lk_hooks_json=[{"} {
		if !strings.Contains(out, word) {
			t.Errorf("outputs without %q:\n%s", word, out)
		}
	}
	r.mustRun(t, "matrix", step, append(env, "LOCKED=true")...)
	if out := r.read(t, "output"); !strings.HasSuffix(out, "\nkernels_json=[]\n") {
		t.Errorf("with a lock, the outputs are\n%s", out)
	}
	env = append(env, "LOCKED=true", "PUBLISH=ghcr.io/Me/HookOS")
	if out, err := r.run(t, "matrix", step, env...); err == nil || !strings.Contains(out, "hookbuild.lock") {
		t.Errorf("without the lock that says what is published: %v\n%s", err, out)
	}
	r.mustRun(t, "matrix", step, append(env, "RELEASE=true")...)
	if out, err := r.run(t, "matrix", step, "TAGS=lts, standart"); err == nil || !strings.Contains(out, "did you mean standard?") {
		t.Errorf("an unknown tag: %v\n%s", err, out)
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
	r.installStandIn(t, "stand-ins/hookbuild")
	r.mustRun(t, job, step, append(env, "FLAVOR=hook-latest-lts-amd64")...)
	args := strings.Split(r.read(t, "args"), "\n")
	wantInvalid(t, binary, args)
	return strings.Join(args, " ")
}

func TestKernelJob(t *testing.T) {
	binary := compiled(t)
	const step, always = "Make the kernel image", "kernel hook-latest-lts-amd64 --no-load --export kernel.tar"
	if got := newStepRunner(t, reusable).told(t, binary, "kernel", step); got != always {
		t.Errorf("the arguments are\n%s\nnot\n%s", got, always)
	}
	const cached = always + " --cache-from ghcr.io/me/cache --cache-to ghcr.io/me/cache"
	if got := newStepRunner(t, reusable).told(t, binary, "kernel", step, "CACHE=ghcr.io/Me/cache"); got != cached {
		t.Errorf("the arguments are\n%s\nnot\n%s", got, cached)
	}
	r := newStepRunner(t, reusable)
	r.write(t, ".hook/kernel/x", "", 0o644)
	const want = always + " --hook-dir .hook --push HOOK_KERNEL_OCI_BASE=ghcr.io/me/hook-kernel"
	if got := r.told(t, binary, "kernel", step, "KERNELS=ghcr.io/Me/hook-kernel"); got != want {
		t.Errorf("the arguments are\n%s\nnot\n%s", got, want)
	}
}

func TestLogins(t *testing.T) {
	for _, job := range []string{"matrix", "kernel", "hookos"} {
		r := newStepRunner(t, reusable)
		r.write(t, "stand-ins/docker", "#!/bin/sh\necho \"$*: $(cat)\" > \"$GITHUB_WORKSPACE/login\"\n", 0o755)
		r.mustRun(t, job, "Log in to ghcr.io", "ACTOR=me", "TOKEN=secret")
		if got := r.read(t, "login"); got != "login ghcr.io --username me --password-stdin: secret\n" {
			t.Errorf("docker got %s", got)
		}
	}
}

// TestHookOSJob passes the arguments of the workflow to the real program, which
// must accept them and fail only for want of a template.
func TestHookOSJob(t *testing.T) {
	binary := compiled(t)
	const always = "all hook-latest-lts-amd64 --out out"
	for name, tt := range map[string]struct {
		env    []string
		kernel bool
		want   string
	}{
		"nothing on board": {nil, false, always},
		"own kernel":       {[]string{"KERNEL_IMAGE=r.example/k:1"}, true, always + " --kernel image:docker-archive:kernel.tar"},
		"published kernel": {[]string{"KERNEL_IMAGE=r.example/k:1"}, false, always + " --kernel image:r.example/k:1"},
		"a release":        {[]string{"EKSA_VERSION=v0.24.2", "NO_WORKER=true"}, false, always + " --embed-from-bundle --eksa-version v0.24.2 --no-worker"},
		"the latest":       {[]string{"EKSA_VERSION=latest", "WORKER_IMAGE=r.example/agent:1"}, true, always + " --kernel image:docker-archive:kernel.tar --embed-from-bundle --worker-image r.example/agent:1"},
		"another's worker": {[]string{"EKSA_VERSION=latest", "WORKER_FROM=https://r.example/initramfs", "NO_WORKER=false"}, false, always + " --embed-from-bundle --worker-from https://r.example/initramfs"},
		"shared results":   {[]string{"CACHE=ghcr.io/Me/cache"}, false, always + " --cache-from ghcr.io/me/cache --cache-to ghcr.io/me/cache"},
		"locked":           {[]string{"LOCKED=true", "KERNEL_IMAGE=r.example/k:1"}, false, always + " --locked"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newStepRunner(t, reusable)
			if tt.kernel {
				r.write(t, "kernel.tar", "", 0o644)
			}
			if got := r.told(t, binary, "hookos", "Build HookOS", tt.env...); got != tt.want {
				t.Errorf("the arguments are\n%s\nnot\n%s", got, tt.want)
			}
		})
	}
	r := newStepRunner(t, reusable)
	if got := r.told(t, binary, "hookos", "Verify HookOS"); got != "verify --sbom out" {
		t.Errorf("verify: %s", got)
	}
	for tag, want := range map[string]string{"": "hook-latest-lts-amd64", "v7": "v7-hook-latest-lts-amd64"} {
		r := newStepRunner(t, reusable)
		got := r.told(t, binary, "hookos", "Publish HookOS", "PUBLISH=ghcr.io/Me/HookOS", "SOURCE=https://github.com/Me/HookOS", "TAG="+tag)
		if want = "push out ghcr.io/me/hookos:" + want + " --annotation org.opencontainers.image.source=https://github.com/Me/HookOS"; got != want {
			t.Errorf("the arguments are\n%s\nnot\n%s", got, want)
		}
		if got := r.read(t, "summary"); !strings.Contains(got, "hookos@sha256:0") {
			t.Errorf("the summary is %s", got)
		}
	}
}

func TestPublishedByItsLock(t *testing.T) {
	binary := compiled(t)
	const push = "push out ghcr.io/me/hookos%s --annotation org.opencontainers.image.source=https://github.com/Me/HookOS"
	for manifest, want := range map[string]string{
		`{"builds":[{"lockTag":"x"}]}`: fmt.Sprintf(push, " --by-lock"),
		`{"builds":[{}]}`:              fmt.Sprintf(push, ":hook-latest-lts-amd64"), // it has secrets
	} {
		r := newStepRunner(t, reusable)
		r.write(t, "out/hook/manifest.json", manifest, 0o644)
		got := r.told(t, binary, "hookos", "Publish HookOS", "PUBLISH=ghcr.io/Me/HookOS", "SOURCE=https://github.com/Me/HookOS", "LOCKED=true")
		if got != want {
			t.Errorf("the last arguments are\n%s\nnot\n%s", got, want)
		}
	}
}

// wantInvalid runs hookbuild in a checkout that has nothing, without a HookOS or a lock.
// Arguments that it does not know would be a usage error instead.
func wantInvalid(t *testing.T, binary string, args []string) {
	t.Helper()
	if args[0] != "push" { // which refuses to work offline, and finds nothing to push
		args = append(args, "--offline")
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	for _, dir := range []string{"linuxkit-templates", "kernel/configs"} {
		if err := os.MkdirAll(filepath.Join(cmd.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() == int(fault.Usage) {
		t.Errorf("%q: %v\n%s", args, err, out)
	}
}

func TestChecksumsJob(t *testing.T) {
	r := newStepRunner(t, reusable)
	for _, one := range []string{"hookos-a", "hookos-b"} {
		sums := ""
		for _, file := range []string{"vmlinuz-x86_64", "initramfs-x86_64"} {
			r.write(t, "hookos/"+one+"/hook/"+file, one+file, 0o644)
			sums += fmt.Sprintf("%x  %s\n", sha512.Sum512([]byte(one+file)), file)
		}
		r.write(t, "hookos/"+one+"/hook/checksums.txt", sums, 0o644)
		r.write(t, "hookos/"+one+"/hook/sbom.spdx.json", "{}", 0o644)
		r.write(t, "hookos/"+one+"/hook/provenance.json", "{}", 0o644)
		r.write(t, "hookos/"+one+"/hook_"+one+".tar.gz", one, 0o644)
	}
	const check = "Check what arrived and sum it up"
	r.mustRun(t, "checksums", check)
	if got := strings.Count(r.read(t, "hookos/checksums.txt"), "\n"); got != 6 {
		t.Errorf("%d checksums, want 6", got)
	}
	if !strings.Contains(r.read(t, "summary"), "hookos-b/hook/vmlinuz-x86_64") {
		t.Error("the summary lacks a file")
	}
	r.write(t, "stand-ins/gh", "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$GITHUB_WORKSPACE/gh\"\n", 0o755)
	r.mustRun(t, "checksums", "Release HookOS", "TAG=v7")
	const want = "release create v7 --verify-tag --title HookOS v7 --notes Check the files with sha512sum --check checksums.txt. " +
		"release/checksums.txt release/hook_hookos-a.tar.gz release/hook_hookos-b.tar.gz release/hookos-a.provenance.json " +
		"release/hookos-a.sbom.spdx.json release/hookos-b.provenance.json release/hookos-b.sbom.spdx.json"
	if got := strings.Join(strings.Fields(r.read(t, "gh")), " "); got != want {
		t.Errorf("gh got\n%s\nnot\n%s", got, want)
	}
	sums := exec.CommandContext(t.Context(), testneed.Tool(t, "sha512sum"), "--check", "--strict", "checksums.txt")
	sums.Dir = filepath.Join(r.dir, "hookos/release")
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 6 {
		t.Errorf("%v\n%s", err, out)
	}
	r.write(t, "hookos/hookos-a/hook/vmlinuz-x86_64", "damaged", 0o644)
	if out, err := r.run(t, "checksums", check); err == nil {
		t.Errorf("a damaged file was not noticed: %s", out)
	}
}

// TestUpdateJob opens a pull request in a real repository of git, with a stand-in for
// gh, and updates it.
func TestUpdateJob(t *testing.T) {
	const step = "Open a pull request with what changed"
	binary := compiled(t)
	r := newStepRunner(t, updater)
	if got := r.told(t, binary, "update", "Update the lock"); got != "lock --update" {
		t.Errorf("the arguments are %s", got)
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "git"), append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...)
		cmd.Dir = r.dir
		cmd.Env = append(os.Environ(), "HOME="+r.dir, "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--bare", "origin.git")
	git("init", "--quiet", "--initial-branch=main")
	git("remote", "add", "origin", "origin.git")
	r.write(t, "hookbuild.lock", "old\n", 0o644)
	git("add", "hookbuild.lock")
	git("commit", "--quiet", "--message", "x")
	r.write(t, "stand-ins/gh", "#!/bin/sh\nprintf '%s ' \"$@\" >> \"$GITHUB_WORKSPACE/gh\"\necho >> \"$GITHUB_WORKSPACE/gh\"\n[ \"$2\" != list ] || cat \"$GITHUB_WORKSPACE/open\"\n", 0o755)
	r.write(t, "temp/changes.txt", "kernel: 6.6.1 -> 6.6.2\n", 0o644)
	env := []string{"BRANCH=hookbuild-lock", "BASE=main", "GIT_CONFIG_NOSYSTEM=1"}
	r.mustRun(t, "update", step, env...)
	if _, err := os.Stat(filepath.Join(r.dir, "gh")); err == nil {
		t.Errorf("nothing changed, and gh was called: %s", r.read(t, "gh"))
	}
	for i, asked := range []string{"pr create --head hookbuild-lock --base main --title Update hookbuild.lock --body-file ", "pr edit hookbuild-lock --body-file "} {
		lock := fmt.Sprintf("new %d\n", i)
		git("switch", "--quiet", "main")
		r.write(t, "hookbuild.lock", lock, 0o644)
		r.write(t, "open", fmt.Sprintln(i), 0o644)
		r.mustRun(t, "update", step, env...)
		if got := git("--git-dir=origin.git", "show", "hookbuild-lock:hookbuild.lock") + "\n"; got != lock {
			t.Errorf("pushed %q, want %q", got, lock)
		}
		if got := r.read(t, "gh"); !strings.Contains(got, asked) {
			t.Errorf("gh got\n%s\nwithout %q", got, asked)
		}
		if got := r.read(t, "temp/body.md"); !strings.Contains(got, "    kernel: 6.6.1 -> 6.6.2\n") {
			t.Errorf("the pull request says\n%s", got)
		}
		if got := git("log", "--format=%s", "main..hookbuild-lock"); got != "Update hookbuild.lock" {
			t.Errorf("the branch has %q", got)
		}
	}
}
