package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hookbuild/test/testneed"
)

// newMachine changes to another machine, with an empty cache and another output.
func (l *locker) newMachine() {
	l.t.Helper()
	l.cache, l.out = l.t.TempDir(), l.t.TempDir()
}

// repository is the shared cache of the tests.
func (l *locker) repository() string { return l.site.Host + "/team/cache" }

// allOptions are those of the tests' builds without the tar archive, which is made
// of the layers.
func (l *locker) allOptions() []string {
	return slices.DeleteFunc(l.options(), func(option string) bool { return option == "--tar" })
}

// all builds the tests' HookOS.
func (l *locker) all(more ...string) outcome {
	l.t.Helper()
	return l.run(0, append(append([]string{"all"}, l.allOptions()...), more...)...)
}

// requests returns what was asked since the last call.
func (l *locker) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.asked
	l.asked = nil
	return all
}

// packed lists the lines about something that was packed or assembled here.
func packed(said string) []string {
	var made []string
	for line := range strings.Lines(said) {
		if strings.Contains(line, "pack the images to embed") || strings.Contains(line, "assemble the root file system") {
			if !strings.Contains(line, "from the shared cache") && strings.Contains(line, "done") || strings.Contains(line, "made") {
				made = append(made, line)
			}
		}
	}
	return made
}

// TestSecondMachinePacksNothing builds on one machine, and with a warm registry on
// another, which reads no layer of HookOS or of the action.
func TestSecondMachinePacksNothing(t *testing.T) {
	l := newLocker(t)
	l.requests()
	first := l.all("--cache-to", l.repository(), "--cache-from", l.repository())
	if made := packed(first.stderr); len(made) != 2 {
		t.Errorf("the first machine packed %q\n%s", made, first.stderr)
	}
	for _, want := range []string{"0 results (0 B) from the shared cache, 6 made here", "pushed 6 results"} {
		if !strings.Contains(first.stderr, want) {
			t.Errorf("the first machine does not say %q:\n%s", want, first.stderr)
		}
	}
	want := contents(t, filepath.Join(l.out, "hook"))
	cold := imageBlobs(l.requests())

	l.newMachine()
	second := l.all("--cache-from", l.repository())
	if made := packed(second.stderr); len(made) > 0 || strings.Count(second.stderr, "from the shared cache") < 3 {
		t.Errorf("the second machine packed %q\n%s", made, second.stderr)
	}
	if !strings.Contains(second.stderr, "from the shared cache, 0 made here") {
		t.Errorf("the second machine made something:\n%s", second.stderr)
	}
	compareContents(t, want, contents(t, filepath.Join(l.out, "hook")))
	asked := l.requests()
	const layers = 3 // the action's, and two of HookOS
	if warm := imageBlobs(asked); len(warm) != len(cold)-layers {
		t.Errorf("the second machine read %q, the first %q", warm, cold)
	}
	for _, request := range asked {
		if method, _, _ := strings.Cut(request, " "); method != http.MethodGet && method != http.MethodHead {
			t.Errorf("without --cache-to: %s", request)
		}
	}

	// With everything in the local cache the registry is asked for nothing.
	l.all("--cache-from", l.repository())
	for _, request := range l.requests() {
		if strings.Contains(request, "/team/cache/") {
			t.Errorf("with a warm cache: %s", request)
		}
	}
}

// imageBlobs returns the blobs of images that were read.
func imageBlobs(asked []string) []string {
	var all []string
	for _, request := range asked {
		_, repository, _ := strings.Cut(request, "/v2/")
		if strings.HasPrefix(request, "GET ") && strings.Contains(request, "/blobs/") && !strings.HasPrefix(repository, "team/cache") {
			all = append(all, repository)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func compareContents(t *testing.T, want, got map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs", name)
		}
	}
}

// programForAll returns this program where every user may run it.
func programForAll(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hookbuild")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(program, content, 0o755)
	}
	if err == nil {
		err = os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755) // other users pass
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// ordinary runs this program as a user without rights, in a directory of its own,
// which it returns too.
func ordinary(t *testing.T) (dir string, run func(args ...string) (string, error)) {
	t.Helper()
	testneed.Root(t)
	program, dir := programForAll(t), t.TempDir()
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return dir, func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "DOCKER_HOST=unix:///nowhere/docker.sock", "HOOK_LK_CONTAINERS_OCI_BASE=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
}

// TestSecondUserPacksNothing is the same with another user of the system.
func TestSecondUserPacksNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: both runs are of one user")
	}
	l := newLocker(t)
	program := programForAll(t)
	var files []map[string]string
	for user, more := range []string{"--cache-to", "--cache-from"} {
		l.newMachine()
		args := append(append([]string{"all"}, l.allOptions()...), "--cache-dir", l.cache, "--progress", "plain", more, l.repository())
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "HOME="+l.cache, "HOOK_LK_CONTAINERS_OCI_BASE="+l.site.Base())
		if os.Geteuid() == 0 {
			const first = 65500
			uid := first + user
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
			for _, dir := range []string{l.cache, l.out} {
				if err := os.Chown(dir, uid, uid); err != nil {
					t.Fatal(err)
				}
			}
		}
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if made := packed(string(said)); (len(made) > 0) != (user == 0) {
			t.Errorf("user %d packed %q\n%s", user+1, made, said)
		}
		files = append(files, contents(t, filepath.Join(l.out, "hook")))
	}
	compareContents(t, files[0], files[1])
}

// A lock allows the shared cache, whose keys hold its digests; --offline and a kit
// do not.
func TestSharedCacheAndTheLock(t *testing.T) {
	l := newLocker(t)
	l.write()
	l.build(0, "--cache-to", l.repository())
	want := contents(t, filepath.Join(l.out, "hook"))
	kit := filepath.Join(t.TempDir(), "kit.tar")
	l.do(0, "kit", "save", "-o", kit)
	warm := l.cache

	l.newMachine()
	got := l.build(0, "--cache-from", l.repository())
	if made := packed(got.stderr); len(made) > 0 || !strings.Contains(got.stderr, "from the shared cache, 0 made here") {
		t.Errorf("locked: %s", got.stderr)
	}
	compareContents(t, want, contents(t, filepath.Join(l.out, "hook")))

	for name, args := range map[string][]string{"kit": {"--kit", kit}, "offline": {"--offline"}} {
		l.newMachine()
		if name == "offline" {
			l.cache = warm
		}
		l.requests()
		got := l.build(0, append(args, "--cache-from", l.repository(), "--cache-to", l.repository())...)
		if asked := l.requests(); len(asked) > 0 || !strings.Contains(got.stderr, "--"+name+": the shared cache is not used") {
			t.Errorf("%s: asked %q\n%s", name, asked, got.stderr)
		}
		compareContents(t, want, contents(t, filepath.Join(l.out, "hook")))
	}
}

// A registry that fails leaves a build that is as without it.
func TestBrokenSharedCache(t *testing.T) {
	l := newLocker(t)
	l.all()
	want := contents(t, filepath.Join(l.out, "hook"))
	l.newMachine()
	got := l.all("--cache-from", "127.0.0.1:1/cache", "--cache-to", "127.0.0.1:1/cache")
	compareContents(t, want, contents(t, filepath.Join(l.out, "hook")))
	for _, line := range []string{"going on without it", "pushing no more results"} {
		if !strings.Contains(got.stderr, line) {
			t.Errorf("it does not say %q:\n%s", line, got.stderr)
		}
	}
}

func TestSharedCacheUsage(t *testing.T) {
	l := newLocker(t)
	for _, args := range [][]string{{"--cache-from", "registry.example/cache:v1"}, {"--cache-to", "https://registry.example/cache"}, {"--cache-to", ""}} {
		if got := l.run(2, append([]string{"cache", "ls"}, args...)...); !strings.Contains(got.stderr, "name a repository without tag") {
			t.Errorf("%v: %s", args, got.stderr)
		}
	}
}

// The plan says what the shared cache has.
func TestPlanSaysWhatIsShared(t *testing.T) {
	l := newLocker(t)
	l.all("--cache-to", l.repository())
	l.newMachine()
	if plan, _ := l.plan(); len(plan.Shared) > 0 {
		t.Errorf("without --cache-from: %+v", plan.Shared)
	}
	plan, _ := l.plan("--cache-from", l.repository())
	if len(plan.Shared) != 1 || plan.Shared[0].What != "root file system" || plan.Shared[0].From != l.repository() || plan.Shared[0].Bytes == 0 {
		t.Errorf("the plan says %+v", plan.Shared)
	}
	shown := l.run(0, append([]string{"plan", "--cache-from", l.repository()}, l.options()...)...).stdout
	if !strings.Contains(shown, " for the root file system, from "+l.repository()) {
		t.Error(shown)
	}
}
