package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// outcome is the exit code and output of a run.
type outcome struct {
	code           int
	stdout, stderr string
}

func runAt(ctx context.Context, s *site.Site, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	env := map[string]string{"HOOK_LK_CONTAINERS_OCI_BASE": s.Base()}
	code := run(ctx, args, environment{
		getenv: func(k string) string { return env[k] },
		stdin:  strings.NewReader(""), stdout: &stdout, stderr: &stderr,
	})
	return outcome{code, stdout.String(), stderr.String()}
}

// allArgs returns the command line of all at a site with one action image.
func allArgs(t *testing.T, s *site.Site, cache, out string) []string {
	t.Helper()
	return []string{
		"all", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--out", out, "--cache-dir", cache,
		"--kernel", "deb:" + kerneltest.CloudKernel(t, "amd64"), "--progress", "plain", "--level", "1",
		"--image", s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec",
	}
}

// sharedCache returns a cache directory that the tests share for the unpacked kernel
// package.
func sharedCache(t *testing.T) string { return kerneltest.Dir(t, "cmd") }

// pushAction pushes an image that no cache has seen.
func pushAction(t *testing.T, s *site.Site) {
	t.Helper()
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": fmt.Sprint(t.Name(), time.Now())})
}

func TestAllPrintsTheArtifacts(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	out := t.TempDir()
	cache := sharedCache(t)
	got := runAt(t.Context(), s, allArgs(t, s, cache, out)...)
	want := fmt.Sprintf("%[1]s/hook/vmlinuz-latest-lts-x86_64\n%[1]s/hook/initramfs-latest-lts-x86_64\n%[1]s/hook/vmlinuz-x86_64\n%[1]s/hook/initramfs-x86_64\n%[1]s/hook_latest-lts-x86_64.tar.gz\n", out)
	if got.code != 0 || got.stdout != want {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	first := sumOf(t, filepath.Join(out, "hook_latest-lts-x86_64.tar.gz"))

	again := runAt(t.Context(), s, allArgs(t, s, cache, out)...)
	if !strings.Contains(again.stderr, "publish the artifacts in "+out+": nothing changed") || again.stdout != want {
		t.Errorf("the second run published again:\n%s\n%s", again.stdout, again.stderr)
	}
	offline := runAt(t.Context(), s, append(allArgs(t, s, cache, t.TempDir()), "--offline")...)
	if offline.code != 0 || strings.Count(offline.stderr, "nothing changed") != 2 {
		t.Errorf("offline, into another directory: exit code %d, or segments were made again\n%s", offline.code, offline.stderr)
	}
	if second := sumOf(t, filepath.Join(out, "hook_latest-lts-x86_64.tar.gz")); second != first {
		t.Error("the runs differ")
	}
}

func sumOf(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

func TestRegistryFaults(t *testing.T) {
	for _, test := range []struct {
		status int
		want   string
	}{
		{http.StatusUnauthorized, "docker login"},
		{http.StatusNotFound, "cexec"},
		{http.StatusInternalServerError, "cexec"},
	} {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			s := site.New(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/actions/") || r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/actions/cexec/manifests") {
						w.WriteHeader(test.status)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			out := t.TempDir()
			got := runAt(t.Context(), s, allArgs(t, s, sharedCache(t), out)...)
			if got.code != 4 || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
				t.Errorf("exit code %d\n%s", got.code, got.stderr)
			}
			nothingIn(t, out)
		})
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("%v is left in the output directory", entries)
	}
}

// TestInterruptLeavesNothingAndTheNextRunFinishes interrupts a run during a stalled
// transfer.
func TestInterruptLeavesNothingAndTheNextRunFinishes(t *testing.T) {
	stuck := make(chan struct{})
	release := make(chan struct{})
	var blocking bool
	s := site.New(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if blocking && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/actions/cexec/blobs/") {
				select {
				case stuck <- struct{}{}:
				default:
				}
				<-release
			}
			next.ServeHTTP(w, r)
		})
	})
	pushAction(t, s)
	blocking = true
	out := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		<-stuck
		interrupt()
		time.AfterFunc(100*time.Millisecond, func() { close(release) })
	}()
	args := allArgs(t, s, sharedCache(t), out)
	got := runAt(ctx, s, args...)
	if got.code != exitInterrupted || !strings.Contains(got.stderr, "stopping…") || !strings.Contains(got.stderr, "interrupted") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	nothingIn(t, out)
	blocking = false
	if got := runAt(t.Context(), s, args...); got.code != 0 {
		t.Errorf("the next run: exit code %d\n%s", got.code, got.stderr)
	}
}

// TestFullDisk checks that the error names the path on the full disk, and that no
// artifact appears.
func TestFullDisk(t *testing.T) {
	testneed.Root(t)
	s := site.New(t, nil)
	pushAction(t, s)
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m"); err != nil {
		testneed.Missing(t, "mount", err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	for option, args := range map[string][]string{
		"--out":       allArgs(t, s, sharedCache(t), filepath.Join(small, "out")),
		"--cache-dir": allArgs(t, s, filepath.Join(small, "cache"), t.TempDir()),
	} {
		t.Run(option, func(t *testing.T) {
			got := runAt(t.Context(), s, args...)
			if got.code != 1 || !strings.Contains(got.stderr, "no space left on device") || !strings.Contains(got.stderr, "another place with "+option) || !strings.Contains(got.stderr, small) {
				t.Errorf("exit code %d\n%s", got.code, got.stderr)
			}
			nothingIn(t, filepath.Join(small, "out"))
		})
	}
}

// TestSignal sends signals to the real binary: each that ends it leaves nothing, and
// one that nohup ignores does not end it.
func TestSignal(t *testing.T) {
	asked := make(chan chan struct{}, 1) // closing what it gives answers the request
	var holding atomic.Bool              // the next request; one that is tried again is answered
	s := site.New(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/actions/") && holding.CompareAndSwap(true, false) {
				answer := make(chan struct{})
				asked <- answer
				select {
				case <-answer:
				case <-r.Context().Done():
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	pushAction(t, s)
	binary := filepath.Join(t.TempDir(), "hookbuild")
	if text, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	in := filepath.Join(t.TempDir(), "in")
	baseInitramfs(t, in, initramfs.None)
	for name, test := range map[string]struct {
		signal  os.Signal
		ignored bool
		code    int
	}{
		"SIGINT":              {os.Interrupt, false, exitInterrupted},
		"SIGTERM":             {syscall.SIGTERM, false, exitInterrupted},
		"SIGHUP":              {syscall.SIGHUP, false, exitInterrupted},
		"SIGHUP, under nohup": {syscall.SIGHUP, true, 0},
	} {
		if test.signal == syscall.SIGHUP && signal.Ignored(syscall.SIGHUP) { // the tests are under nohup
			test.ignored, test.code = true, 0
		}
		cmd := exec.Command("sh", "-c", map[bool]string{true: "trap '' HUP; "}[test.ignored]+`exec "$@"`, "sh",
			binary, "embed", "--initramfs", in, "-o", "out", "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/cexec", "--cache-dir", t.TempDir(), "--progress", "plain")
		cmd.Dir = t.TempDir()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		holding.Store(true)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case answer := <-asked:
			if err := cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			if test.ignored {
				close(answer)
			}
		case err := <-ended:
			t.Fatalf("%s: it ended by itself: %v\n%s", name, err, stderr.String())
		}
		if err := <-ended; cmd.ProcessState.ExitCode() != test.code {
			t.Errorf("%s: got %v\n%s", name, err, stderr.String())
		}
		if left := strings.Join(dirNames(t, cmd.Dir), " "); left != map[bool]string{true: "out"}[test.ignored] {
			t.Errorf("%s: the directory has %q", name, left)
		}
	}
}

// TestSecondSignal sends signals to a command that waits for its standard input, which
// no first signal ends.
func TestSecondSignal(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "hookbuild")
	if text, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	cmd := exec.CommandContext(t.Context(), binary, "init", "--lspci", "-", "--progress", "plain")
	cmd.Dir = t.TempDir()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stderr)
	if line, err := said.ReadString('\n'); err != nil || !strings.Contains(line, "there is no Hook checkout here") {
		t.Fatalf("init says %q, %v", line, err)
	}
	rest := make(chan error, 1) // its end is the process's
	go func() {
		_, err := io.Copy(io.Discard, said)
		rest <- err
	}()
	for deadline, over := time.Now().Add(time.Minute), false; !over; {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-rest:
			over = true
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(50 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("it goes on in spite of many signals")
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("got %v, want the end by a signal", err)
	}
}

// A FIFO that nobody writes to is not waited for where only a file can be read.
func TestPipesWithoutWriters(t *testing.T) {
	s := site.New(t, nil)
	dir := t.TempDir()
	pipe, in := filepath.Join(dir, "pipe"), filepath.Join(dir, "in")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	baseInitramfs(t, in, initramfs.Gzip)
	for _, args := range [][]string{
		{"embed", "--list", pipe}, {"inspect", pipe}, {"kit", "verify", pipe},
		{"embed", "--initramfs", in, "-o", filepath.Join(dir, "out"), "--image", "docker-archive:" + pipe + "=127.0.0.1/embedded/a"},
	} {
		got := runAt(t.Context(), s, append(args, "--cache-dir", filepath.Join(dir, "cache"), "--progress", "plain")...)
		if got.code != 3 || !strings.Contains(got.stderr, "it is not a file") {
			t.Errorf("%v: exit code %d\n%s", args, got.code, got.stderr)
		}
	}
}
