package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// publishAgain publishes the artifacts of one output directory in another. It
// runs as a process of its own, for [TestPublishKilled] to kill.
func publishAgain() {
	runtime.LockOSThread() // strace counts the calls of each thread
	from, out := os.Args[1], os.Args[2]
	if err := publishFrom(context.Background(), filepath.Join(from, artifact.DefaultName), out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func publishFrom(ctx context.Context, from, out string) (err error) {
	m, err := artifact.ReadManifest(filepath.Join(from, artifact.ManifestFile))
	if err != nil {
		return err
	}
	s, err := artifact.NewStage(out, artifact.DefaultName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Discard()) }()
	b := m.Builds[0]
	for _, f := range b.Artifacts {
		content, err := os.ReadFile(filepath.Join(from, f.Name))
		if err == nil {
			err = s.Write(f.Name, func(w io.Writer) error { _, err := w.Write(content); return err })
		}
		if err != nil {
			return err
		}
	}
	if b.Artifacts, err = s.Artifacts(ctx); err != nil {
		return err
	}
	tarball := b.Tarball.Name
	b.Tarball = nil
	_, err = s.Publish(ctx, tarball, b, nil)
	return err
}

// TestPublishKilled kills a publishing process before each system call that
// changes a directory or writes a file through. Old and new artifacts are never
// beside each other without verify saying so, what a user keeps there is not
// lost, and the next run finishes.
func TestPublishKilled(t *testing.T) {
	k := killer{before: newSmallProof(t), after: newSmallProof(t), strace: testneed.Tool(t, "strace"), seen: map[string]int{}}
	if said, err := exec.CommandContext(t.Context(), k.strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		testneed.Missing(t, "ptrace", string(said))
	}
	var err error
	if k.program, err = exec.LookPath("publishagain"); err != nil {
		t.Fatal(err)
	}
	if k.before.initramfs(t) == k.after.initramfs(t) {
		t.Fatal("both outputs are the same")
	}
	// strace counts each call by itself. Those that an architecture lacks never
	// happen.
	for _, call := range []string{"?mkdir", "mkdirat", "fsync", "?link", "linkat", "?rename", "?renameat", "renameat2", "?rmdir", "?unlink", "unlinkat"} {
		for n := 1; k.kill(t, call, n); n++ {
		}
	}
	t.Log(k.seen)
	if k.seen["old"] < 5 || k.seen["mixed"] < 2 || k.seen["new"] < 5 {
		t.Errorf("the kills were at the wrong places: %v", k.seen)
	}
}

// killer publishes the artifacts of one output over those of another.
type killer struct {
	before, after   proof
	strace, program string
	seen            map[string]int // how many kills left old, new and mixed artifacts
}

// kill kills the process before its nth call of a kind. It reports false when the
// process ended before that.
func (k *killer) kill(t *testing.T, call string, n int) bool {
	t.Helper()
	p := k.before
	p.out = t.TempDir()
	if err := os.CopyFS(p.out, os.DirFS(k.before.out)); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(p.out, artifact.DefaultName, "notes", "a.txt")
	site.WriteFile(t, notes, "mine")
	cmd := exec.CommandContext(t.Context(), k.strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), k.program, k.after.out, p.out)
	said, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	place := fmt.Sprintf("killed before %s %d", call, n)
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%s: %v\n%s", place, err, said)
	}
	k.seen[k.left(t, p, place)]++
	if said, err := exec.CommandContext(t.Context(), k.program, k.after.out, p.out).CombinedOutput(); err != nil {
		t.Fatalf("%s, and run again: %v\n%s", place, err, said)
	}
	p.run(0, "verify", p.out)
	if readFile(t, notes) != "mine" || p.initramfs(t) != k.after.initramfs(t) {
		t.Errorf("%s, and run again: it did not finish", place)
	}
	if left, err := filepath.Glob(filepath.Join(p.out, ".hook*")); err != nil || len(left) > 0 {
		t.Errorf("%s, and run again: %v is left; %v", place, left, err)
	}
	return true
}

// left checks what a killed process left, and returns which artifacts those are.
func (k *killer) left(t *testing.T, p proof, place string) string {
	t.Helper()
	m, err := artifact.ReadManifest(filepath.Join(p.out, artifact.DefaultName, artifact.ManifestFile))
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	tarball := m.Builds[0].Tarball
	if sha512Of(readFile(t, filepath.Join(p.out, tarball.Name))) != tarball.SHA512 {
		r := p.findings(t, 3, p.out)
		for _, f := range r.Faults {
			if f.File != tarball.Name {
				t.Errorf("%s: verify says %v", place, f)
			}
		}
		return "mixed"
	}
	p.run(0, "verify", p.out)
	if p.initramfs(t) == k.after.initramfs(t) {
		return "new"
	}
	return "old"
}

func (p proof) initramfs(t *testing.T) string {
	t.Helper()
	return readFile(t, filepath.Join(p.out, artifact.DefaultName, "initramfs-x86_64"))
}
