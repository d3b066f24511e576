package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

func TestTail(t *testing.T) {
	r := &record{t: t}
	var log bytes.Buffer
	lines := &tail{task: progress.Start(r, 0, "work"), log: &log}
	for i := range 20 {
		if _, err := io.WriteString(lines, strings.Repeat("x", i)+"\r\n\n"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(lines, "no end"); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(lines.String(), "\n")
	if len(got) != lastLines+1 || got[0] != "xxxxx" || got[lastLines] != "no end" {
		t.Errorf("the last lines are %q", got)
	}
	if !strings.Contains(log.String(), "\r\n\nx\r\n\nxx\r\n\n") {
		t.Errorf("the log is not complete: %q", log.String())
	}
}

// TestTailKeepsErrors: other compilers continue after one has failed.
func TestTailKeepsErrors(t *testing.T) {
	lines := &tail{task: progress.Start(&record{t: t}, 0, "work")}
	for i := range 100 {
		text := fmt.Sprintf("  CC      file%d.o\n", i)
		switch i {
		case 10:
			text = "enic.c:5:1: error: expected ';'\n"
		case 11:
			text = "make[4]: *** [Makefile:250: enic.o] Error 1\n"
		case 99:
			text = "last.c:1: fatal error: x.h: No such file\n"
		}
		if _, err := io.WriteString(lines, text); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	if len(got) != lastLines+2 || !strings.HasPrefix(got[0], "enic.c:5") || !strings.Contains(got[1], "enic.o] Error 1") || !strings.HasPrefix(got[len(got)-1], "last.c") {
		t.Errorf("the lines are %q", got)
	}
}

func TestFailed(t *testing.T) {
	j := job{target: Target{Flavor: "f"}, step: "compile"}
	for _, c := range []struct {
		code        int64
		lines, want string
	}{
		{2, "enic.c:5: error: x", "exit code 2; the complete output is in /log, its last lines are:\nenic.c:5: error: x"},
		{2, "write: No space left on device", "the engine's disk is full"},
		{137, "Killed", "fewer --jobs"},
	} {
		err := j.failed(c.code, &tail{last: []string{c.lines}}, "/log")
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "compile the kernel of f") {
			t.Errorf("the error is %v; it should say %q", err, c.want)
		}
	}
}

func TestAbandoned(t *testing.T) {
	state := func(status container.ContainerState, age time.Duration) container.InspectResponse {
		at := time.Now().Add(-age).Format(time.RFC3339Nano)
		return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{
			Created: at, State: &container.State{Status: status, Running: status == container.StateRunning, FinishedAt: at},
		}}
	}
	for _, c := range []struct {
		status container.ContainerState
		age    time.Duration
		want   bool
	}{
		{container.StateRunning, time.Hour, false},
		{container.StateExited, time.Second, false},
		{container.StateExited, time.Hour, true},
		{container.StateCreated, time.Second, false},
		{container.StateCreated, time.Hour, true},
	} {
		if got := abandoned(state(c.status, c.age)); got != c.want {
			t.Errorf("%s for %v is abandoned: %v, want %v", c.status, c.age, got, c.want)
		}
	}
}

func TestToolchain(t *testing.T) {
	for arch, want := range map[string]string{"x86_64": "x86", "aarch64": "arm64", "riscv64": ""} {
		tools, err := toolchainOf(arch)
		if tools.kernelArch != want || (err == nil) != (want != "") {
			t.Errorf("%s: %+v, %v", arch, tools, err)
		}
	}
}

func TestNoTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := NewTerminal(f, f, "xterm"); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "not a terminal") {
		t.Errorf("the error is %v", err)
	}
}

func TestScripts(t *testing.T) {
	checker := testneed.Tool(t, "shellcheck")
	files, err := filepath.Glob("files/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(checker, append([]string{"-x"}, files...)...)
	command.Dir = "../.." // the scripts name each other by their paths in the repository
	for i := range command.Args[2:] {
		command.Args[i+2] = filepath.Join("kernel/container", command.Args[i+2])
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNoDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	_, err := Open(t.Context(), Options{})
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "deb:FILE") {
		t.Errorf("the error is %v (%d)", err, fault.KindOf(err))
	}
}

// sourceTar packs a source with one header file and, unless it is meant to be
// invalid, a file Kbuild.
func sourceTar(t *testing.T, when time.Time, names ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "linux.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, file := range names {
		content := "#define COMMAND_LINE_SIZE\t2048\n"
		if err := w.WriteHeader(&tar.Header{Name: "linux-1/" + file, Mode: 0o644, Size: int64(len(content)), ModTime: when}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// cheap returns a builder whose builder image is a plain Debian, which suffices
// for unpacking. The targets' volumes are removed after the test.
func cheap(t *testing.T, targets ...Target) (*Builder, *record) {
	t.Helper()
	b, r := open(t)
	b.o.Image = kerneltest.BaseImage
	t.Cleanup(func() {
		for _, target := range targets {
			for _, at := range []string{"/src", "/obj"} {
				err := b.docker.VolumeRemove(context.Background(), target.volumes()[at], true)
				if err != nil && !errdefs.IsNotFound(err) {
					t.Error(err)
				}
			}
		}
	})
	return b, r
}

const setup = "arch/x86/include/asm/setup.h"

// TestUnpack unpacks a source into a volume and checks it there.
func TestUnpack(t *testing.T) {
	when := time.Unix(1_700_000_000, 0)
	target := Target{Flavor: "test-unpack", Arch: "x86_64", Source: Source{Archive: sourceTar(t, when, "Kbuild", setup), SHA256: "feed0123beef4567"}}
	b, r := cheap(t, target)
	for range 2 { // the second time the volume has it
		if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.started("send the kernel's source"); n != 1 {
		t.Errorf("the source was sent %d times", n)
	}
	text, at := b.fileIn(t, target, "/src/linux/"+setup)
	if text != "#define COMMAND_LINE_SIZE 4096\n" || !at.Equal(when) {
		t.Errorf("the header is %q of %v; its time should stay %v", text, at, when)
	}
}

// fileIn returns a file of a target's volumes, and its time.
func (b *Builder) fileIn(t *testing.T, target Target, name string) (string, time.Time) {
	t.Helper()
	id, err := b.create(t.Context(), job{target: target, step: "look", script: unpackScript, image: kerneltest.BaseImage})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}()
	stream, _, err := b.docker.CopyFromContainer(t.Context(), id, name)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	files := tar.NewReader(stream)
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	return string(content), header.ModTime
}

// TestUnpackDir copies a directory twice, changed in between, as two commands
// do; a single command copies it once.
func TestUnpackDir(t *testing.T) {
	dir := t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(dir, "Kbuild"), nil)
	kerneltest.WriteFile(t, filepath.Join(dir, ".git/config"), []byte("secret"))
	kerneltest.WriteFile(t, filepath.Join(dir, "a.c"), []byte("one"))
	if err := os.Symlink("a.c", filepath.Join(dir, "b.c")); err != nil {
		t.Fatal(err)
	}
	target := Target{Flavor: "test-unpack-dir", Arch: "x86_64", Source: Source{Dir: dir}}
	var b *Builder
	for _, want := range []string{"one", "two"} {
		var r *record
		b, r = cheap(t, target)
		kerneltest.WriteFile(t, filepath.Join(dir, "a.c"), []byte(want))
		for range 2 {
			if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.started("send the kernel's source"); n != 1 {
			t.Errorf("the source was sent %d times", n)
		}
		if got, _ := b.fileIn(t, target, "/src/linux/a.c"); got != want {
			t.Errorf("the file is %q, want %q", got, want)
		}
	}
	id, err := b.create(t.Context(), job{target: target, step: "look", script: unpackScript, image: kerneltest.BaseImage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.docker.ContainerStatPath(t.Context(), id, "/src/linux/.git"); !errdefs.IsNotFound(err) {
		t.Errorf(".git was sent: %v", err)
	}
	if err := b.remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestUnpackNoLinux(t *testing.T) {
	target := Target{Flavor: "test-unpack-bad", Arch: "x86_64", Source: Source{Archive: sourceTar(t, time.Now(), "README"), SHA256: "bad00123beef4567"}}
	b, _ := cheap(t, target)
	err := b.ensureSource(t.Context(), target, kerneltest.BaseImage)
	if err == nil || !strings.Contains(err.Error(), "no Linux source") || !strings.Contains(err.Error(), "kernel-test-unpack-bad-unpack.log") {
		t.Errorf("the error is %v", err)
	}
	if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err == nil {
		t.Error("the second time, an invalid source was accepted")
	}
}

// TestTurn holds a container while another build needs its volumes.
func TestTurn(t *testing.T) {
	archive := sourceTar(t, time.Now(), "Kbuild")
	target := Target{Flavor: "test-turn", Arch: "x86_64", Source: Source{Archive: archive, SHA256: "cafe0123beef4567"}}
	other := Target{Flavor: "test-other", Arch: "x86_64", Source: target.Source}
	compile := job{target: target, step: "compile", script: "compile.sh", image: kerneltest.BaseImage}
	for name, c := range map[string]struct {
		held job
		then func(b *Builder) error
		want string
	}{
		"one flavor": {compile, func(b *Builder) error {
			id, err := b.create(t.Context(), compile)
			return errors.Join(err, b.remove(t.Context(), id))
		}, "(container hookbuild-test-turn-cafe0123beef, compile)"},
		"one source": {job{target: target, step: "unpack", script: unpackScript, image: kerneltest.BaseImage}, func(b *Builder) error {
			return b.ensureSource(t.Context(), other, kerneltest.BaseImage)
		}, "(container hookbuild-source-cafe0123beef, unpack)"},
	} {
		t.Run(name, func(t *testing.T) {
			b, r := cheap(t, target, other)
			id, err := b.create(t.Context(), c.held)
			if err != nil {
				t.Fatal(err)
			}
			second := make(chan error, 1)
			go func() { second <- c.then(b) }()
			for !r.has("another hookbuild is working on this flavor or source " + c.want) {
				time.Sleep(50 * time.Millisecond)
			}
			if err := b.remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := <-second; err != nil {
				t.Errorf("the one that waited: %v", err)
			}
		})
	}
}

// TestSourcesMeet: a flavor that compiles does not block the source of another,
// and an archive that is already there is left alone.
func TestSourcesMeet(t *testing.T) {
	source := Source{Archive: sourceTar(t, time.Now(), "Kbuild", "a.c"), SHA256: "beef0123cafe4567"}
	target := Target{Flavor: "test-meet", Arch: "x86_64", Source: source}
	other := Target{Flavor: "test-meet-other", Arch: "x86_64", Source: source}
	b, _ := cheap(t, target, other)
	if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err != nil {
		t.Fatal(err)
	}
	id, err := b.create(t.Context(), job{target: target, step: "compile", script: "compile.sh", image: kerneltest.BaseImage})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ensureSource(t.Context(), other, kerneltest.BaseImage); err != nil {
		t.Errorf("beside a compilation: %v", err)
	}
	late := job{target: other, step: "unpack", script: unpackScript, image: kerneltest.BaseImage, prepare: func(ctx context.Context, id string) error {
		return b.sendArchive(ctx, id, Source{Archive: sourceTar(t, time.Now(), "Kbuild")})
	}}
	if err := b.run(t.Context(), late); err != nil {
		t.Error(err)
	}
	if _, err := b.docker.ContainerStatPath(t.Context(), id, "/src/linux/a.c"); err != nil {
		t.Errorf("the source under a compilation was replaced: %v", err)
	}
	if err := b.remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestCancelled interrupts a build while another holds the container.
func TestCancelled(t *testing.T) {
	target := Target{Flavor: "test-cancel", Arch: "x86_64", Source: Source{Archive: sourceTar(t, time.Now(), "Kbuild"), SHA256: "dead0123beef4567"}}
	b, _ := cheap(t, target)
	id, err := b.create(t.Context(), job{target: target, step: "unpack", script: unpackScript, image: kerneltest.BaseImage})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := b.ensureSource(ctx, target, kerneltest.BaseImage); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	if err := b.remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestImageWithoutTools: an image that cannot compile is rejected before a
// source is sent to it.
func TestImageWithoutTools(t *testing.T) {
	target := Target{Flavor: "test-no-tools", Arch: "aarch64", Source: Source{Archive: sourceTar(t, time.Now(), "Kbuild"), SHA256: "f00d0123beef4567"}, Defconfig: []byte("CONFIG_A=y\n")}
	b, r := cheap(t, target)
	_, configuring := b.Configure(t.Context(), target, nil)
	_, compiling := b.Compile(t.Context(), target, CompileOptions{}, filepath.Join(t.TempDir(), "kernel"))
	for _, err := range []error{configuring, compiling} {
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), kerneltest.BaseImage) || !strings.Contains(err.Error(), "bison") || !strings.Contains(err.Error(), "aarch64-linux-gnu-gcc") || strings.Contains(err.Error(), "tar,") {
			t.Errorf("the error is %v", err)
		}
	}
	if r.started("send the kernel's source") != 0 {
		t.Error("the source was sent to an image that cannot compile it")
	}
}
