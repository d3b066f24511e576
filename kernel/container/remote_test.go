//go:build e2e

// A second engine needs an image and a storage of its own, so these tests are for
// go test -tags e2e.

package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/test/enginetest"
	"hookbuild/test/kerneltest"
)

// remote is a second engine with the builder image.
type remote struct {
	*enginetest.Engine
	image string
}

func newRemote(t *testing.T) remote {
	t.Helper()
	b, _ := open(t)
	tools, err := toolchainOf("x86_64")
	if err != nil {
		t.Fatal(err)
	}
	r := remote{Engine: enginetest.New(t)}
	if r.image, err = b.obtainImage(t.Context(), tools); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CERT_PATH", r.Certs)
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	r.Start(t)
	r.Load(t, r.image)
	return r
}

// builder returns a builder that reaches the engine at an address.
func (r remote) builder(t *testing.T, host string) (*Builder, *record) {
	t.Helper()
	said := &record{t: t}
	b, err := Open(t.Context(), Options{Engine: host, Image: r.image, LogDir: t.TempDir(), Progress: said})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, said
}

// until waits for what another goroutine does.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// slow is a source that compiles until the file /obj/go exists, and that says so
// if it finds what an earlier run wrote.
func slow(t *testing.T, flavor string) Target {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "linux.tar")
	kerneltest.WriteFile(t, archive, kerneltest.Tar(t, map[string]string{"linux-1/Kbuild": "", "linux-1/Kconfig": "", "linux-1/Makefile": `
olddefconfig: ;
bzImage:
	@if [ -e $(O)/half ]; then echo found what was half done; fi
	@echo half > $(O)/half
	@echo compiling the first half
	@until [ -e $(O)/go ]; do sleep 0.1; done
	@echo compiling the second half
	@mkdir -p $(O)/arch/x86/boot
	@echo kernel > $(O)/arch/x86/boot/bzImage
	@touch $(O)/System.map
`}))
	return Target{Flavor: flavor, Arch: "x86_64", Defconfig: []byte("CONFIG_X=y\n"), Source: Source{Archive: archive, SHA256: "cab1e123beef4567"}}
}

// proceed lets a slow source go on.
func (r remote) proceed(t *testing.T, target Target) {
	t.Helper()
	if out, err := r.Docker(t.Context(), "exec", target.container(), "touch", "/obj/go").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// compiling starts to compile and waits until it is half done.
func compiling(t *testing.T, b *Builder, said *record, target Target, dir string) (ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	go func() {
		_, err := b.Compile(t.Context(), target, CompileOptions{}, dir)
		ended <- err
	}()
	until(t, "the first half", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
		}
		return said.has("compiling the first half")
	})
	return ended
}

// checkLog requires that a line is in the log of compiling as often as given.
func checkLog(t *testing.T, b *Builder, target Target, want map[string]int) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(b.o.LogDir, fmt.Sprintf("kernel-%s-compile.log", target.Flavor)))
	if err != nil {
		t.Fatal(err)
	}
	for line, times := range want {
		if got := strings.Count(string(log), line+"\n"); got != times {
			t.Errorf("the log has %q %d times, not %d:\n%s", line, got, times, log)
		}
	}
}

// TestBrokenConnection breaks the connection while a kernel is compiled, in all
// the ways in which connections break. The container goes on, and what it makes is
// used.
func TestBrokenConnection(t *testing.T) {
	r := newRemote(t)
	tcp := enginetest.NewProxy(t, r.Address)
	server := enginetest.NewSSH(t, "DOCKER_HOST=unix://"+r.Socket)
	ssh := enginetest.NewProxy(t, server.Address)
	for name, c := range map[string]struct {
		proxy  *enginetest.Proxy
		host   string
		spoil  func()
		before bool // the container ends before the connection is back
	}{
		"cut":                     {tcp, "tcp://" + tcp.Address, tcp.Cut, false},
		"cut, ends meanwhile":     {tcp, "tcp://" + tcp.Address, tcp.Cut, true},
		"silent":                  {tcp, "tcp://" + tcp.Address, tcp.Stall, false},
		"ssh cut":                 {ssh, "ssh://root@" + ssh.Address, ssh.Cut, false},
		"ssh cut, ends meanwhile": {ssh, "ssh://root@" + ssh.Address, ssh.Cut, true},
	} {
		t.Run(name, func(t *testing.T) {
			target := slow(t, "test-"+strings.NewReplacer(" ", "", ",", "").Replace(name))
			dir := filepath.Join(t.TempDir(), "kernel")
			b, said := r.builder(t, c.host)
			b.patience.silent = time.Second
			ended := compiling(t, b, said, target, dir)
			c.spoil()
			until(t, "that the loss is noticed", func() bool {
				return said.has("the connection to the Docker engine " + c.host + " was lost; waiting up to 5m0s")
			})
			if c.before {
				r.proceed(t, target)
				until(t, "the end of the container", func() bool {
					out, err := r.Docker(t.Context(), "inspect", "--format", "{{.State.Running}}", target.container()).Output()
					return err == nil && strings.TrimSpace(string(out)) == "false"
				})
			}
			c.proxy.Mend()
			if !c.before {
				r.proceed(t, target)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if kernel, err := os.ReadFile(filepath.Join(dir, "kernel")); err != nil || string(kernel) != "kernel\n" {
				t.Errorf("the kernel is %q, %v", kernel, err)
			}
			checkLog(t, b, target, map[string]int{"compiling the first half": 1, "compiling the second half": 1, "found what was half done": 0})
		})
	}
}

// TestEngineStaysAway ends with an error that says what to do, and without a
// kernel. The next run does not use what was half done.
func TestEngineStaysAway(t *testing.T) {
	r := newRemote(t)
	target := slow(t, "test-away")
	dir := filepath.Join(t.TempDir(), "kernel")
	b, said := r.builder(t, r.Host())
	b.patience.away = time.Second
	ended := compiling(t, b, said, target, dir)
	r.Kill(t)
	err := <-ended
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "the connection to the Docker engine "+r.Host()+" was lost") || !strings.Contains(err.Error(), "run this again when it answers") {
		t.Errorf("an engine that went away: %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it left a kernel: %v", err)
	}
	if _, err := Open(t.Context(), Options{Engine: r.Host()}); err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), r.Host()) {
		t.Errorf("an engine that does not answer: %v", err)
	}
	r.Start(t)
	if out, err := r.Docker(t.Context(), "rm", "--force", target.container()).CombinedOutput(); err != nil { // as time does
		t.Errorf("%v\n%s", err, out)
	}
	b, said = r.builder(t, r.Host())
	ended = compiling(t, b, said, target, dir)
	r.proceed(t, target)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkLog(t, b, target, map[string]int{"hookbuild: the last run was killed: removing the objects that it wrote": 1, "found what was half done": 0})
	t.Setenv("DOCKER_CERT_PATH", "")
	if _, err := Open(t.Context(), Options{Engine: r.Host()}); err == nil {
		t.Error("the engine lets a client in without a certificate")
	}
}

// TestKilledEngine kills the engine while a source is sent to it and while it
// compiles. With it ends the container, and the step begins anew.
func TestKilledEngine(t *testing.T) {
	r := newRemote(t)
	target := slow(t, "test-killed")
	dir := filepath.Join(t.TempDir(), "kernel")
	b, said := r.builder(t, r.Host())
	killed := false
	err := b.run(t.Context(), job{target: target, step: "unpack", script: unpackScript, image: r.image, prepare: func(ctx context.Context, id string) error {
		if !killed {
			killed = true
			r.Kill(t)
			defer r.Start(t)
		}
		return b.sendArchive(ctx, id, target.Source)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := compiling(t, b, said, target, dir)
	r.Kill(t)
	r.Start(t)
	until(t, "the second attempt", func() bool { return said.count("compiling the first half") == 2 })
	r.proceed(t, target)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkLog(t, b, target, map[string]int{"compiling the second half": 1, "found what was half done": 0})
	if !said.has("continuing on the Docker engine " + r.Host()) {
		t.Error("nothing was said of the second attempt")
	}
}

// TestKilledKernel compiles a kernel whose engine is killed in the middle. It has
// the same bytes as one whose engine was not.
func TestKilledKernel(t *testing.T) {
	b, _ := open(t)
	target := tiny(t, "test-tiny")
	dir := filepath.Join(t.TempDir(), "kernel")
	if _, err := b.Compile(t.Context(), target, CompileOptions{Strip: true}, dir); err != nil {
		t.Fatal(err)
	}
	want := sums(t, dir)
	r := newRemote(t)
	other, said := r.builder(t, r.Host())
	ended := make(chan error, 1)
	go func() {
		_, err := other.Compile(t.Context(), target, CompileOptions{Strip: true}, dir)
		ended <- err
	}()
	until(t, "compiling", func() bool { return said.count("  CC  ") > 100 })
	r.Kill(t)
	r.Start(t)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !said.has("the last run was killed") {
		t.Error("the killed run left no trace")
	}
	compareOutputs(t, "after its engine was killed", want, sums(t, dir))
}
