//go:build e2e

// Compiling a kernel takes minutes, so these tests are for go test -tags e2e.

package container

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"hookbuild/internal/cache"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/kconfig"
	"hookbuild/test/kerneltest"
)

// tiny is a kernel that compiles in minutes and has everything that HookOS
// needs.
func tiny(t *testing.T, flavor string) Target {
	t.Helper()
	archive := kerneltest.LinuxSource(t, "6.1")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("testdata/tiny-x86_64.config")
	if err != nil {
		t.Fatal(err)
	}
	return Target{Flavor: flavor, Arch: "x86_64", Source: Source{Archive: archive, SHA256: hex.EncodeToString(h.Sum(nil))}, Defconfig: config}
}

func requests(t *testing.T, sets ...string) []kconfig.Request {
	t.Helper()
	var all []kconfig.Request
	for _, s := range sets {
		r, err := kconfig.ParseSet(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestKernel configures, compiles, changes an option and compiles again, also on
// a second engine, and compares the bytes.
func TestKernel(t *testing.T) {
	b, r := open(t)
	target := tiny(t, "test-tiny")
	dir := filepath.Join(t.TempDir(), "kernel")

	t.Run("unmet request", func(t *testing.T) {
		_, err := b.Configure(t.Context(), target, requests(t, "FCOE_FNIC=m", "SQUASHFS_XZZ=y"))
		var unmet *kconfig.UnmetError
		if !errors.As(err, &unmet) || len(unmet.Reasons) != 2 || !strings.Contains(err.Error(), "did you mean CONFIG_SQUASHFS_XZ") || !strings.Contains(err.Error(), "CONFIG_SCSI (it is not set)") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("lost lines", func(t *testing.T) {
		old := target
		old.Defconfig = append(bytes.Clone(target.Defconfig), "CONFIG_RENAMED_SINCE=y\nCONFIG_LOG_BUF_SHIFT=99\n"...)
		c, err := b.Configure(t.Context(), old, nil)
		if err != nil || len(c.Lost) != 2 || !strings.Contains(c.Lost[0], "CONFIG_RENAMED_SINCE=y") || !strings.Contains(c.Lost[1], "it accepts numbers from 12 to 25") {
			t.Errorf("the lost lines are %+v, %v", c, err)
		}
		if c, err = b.Configure(t.Context(), target, nil); err != nil || len(c.Lost) > 0 {
			t.Errorf("of a fitting configuration the lost lines are %+v, %v", c, err)
		}
	})
	compile := func(what string) time.Duration {
		t.Helper()
		begun := time.Now()
		if _, err := b.Compile(t.Context(), target, CompileOptions{Strip: true}, dir); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		t.Logf("%s: %v", what, took.Round(time.Second))
		return took
	}
	compile("the first build")
	for _, name := range []string{"kernel", "kernel.tar", "dtbs.tar.gz", "System.map", "config"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	release := releaseOf(t, dir, "amd64")
	boot(t, "amd64", filepath.Join(dir, "kernel"), release, buildModule(t, b, target, release))
	outputs, plain := sums(t, dir), target.Defconfig
	compile("nothing changed")
	compareOutputs(t, "when nothing changed", outputs, sums(t, dir))
	c, err := b.Configure(t.Context(), target, requests(t, "SQUASHFS_LZ4=y"))
	if err != nil {
		t.Fatal(err)
	}
	if got := kconfig.Diff(c.Before, c.After); len(got) == 0 || got[len(got)-1].String() != "CONFIG_SQUASHFS_LZ4: not set -> y" {
		t.Errorf("the changes are %v", got)
	}
	target.Defconfig = c.Defconfig
	compile("one option changed")
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil || !strings.Contains(string(config), "CONFIG_SQUASHFS_LZ4=y") {
		t.Errorf("the option is not in the new kernel's configuration, %v", err)
	}
	if maps.Equal(outputs, sums(t, dir)) {
		t.Error("the option changes no file: the comparisons prove nothing")
	}
	target.Defconfig = plain
	compile("the option changed back")
	compareOutputs(t, "after an option was changed and changed back", outputs, sums(t, dir))
	target.Flavor = "test-tiny-fresh"
	removeObjects(t, b, target)
	compile("without objects of an earlier build")
	compareOutputs(t, "in a fresh volume", outputs, sums(t, dir))
	t.Run("second engine", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "kernel")
		second := newRemote(t) // it has the builder image and nothing else
		other, _ := second.builder(t, second.Host())
		if _, err := other.Compile(t.Context(), target, CompileOptions{Strip: true}, dir); err != nil {
			t.Fatal(err)
		}
		compareOutputs(t, "on a second engine", outputs, sums(t, dir))
	})
	if r.has("another hookbuild is working") {
		t.Error("a build waited for itself")
	}
}

// buildModule builds one of Debian's -dkms packages for the kernel that was
// compiled last.
func buildModule(t *testing.T, b *Builder, target Target, release string) map[string][]byte {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := driver.Open(t.Context(), driver.Spec{Source: kerneltest.Deb(t, "vpoll-dkms", "", "amd64")}, driver.Options{Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	modules := map[string][]byte{}
	err = b.BuildModule(t.Context(), Against{Target: target, Release: release}, d, CompileOptions{Strip: true}, nil, func(name string, _ int64, content io.Reader) (err error) {
		if name != Symvers {
			modules[name], err = io.ReadAll(content)
		}
		return err
	})
	if err != nil || len(modules) != 1 {
		t.Fatalf("the modules are %v, %v", slices.Collect(maps.Keys(modules)), err)
	}
	other := target
	other.Defconfig = []byte("CONFIG_OTHER=y\n")
	err = b.BuildModule(t.Context(), Against{Target: other, Release: release}, d, CompileOptions{}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "another hookbuild compiled this flavor in another configuration") {
		t.Errorf("for a kernel that was not compiled last: %v", err)
	}
	return modules
}

// sums returns the checksums of what a compilation left.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"kernel", "kernel.tar", "dtbs.tar.gz", "System.map", "config"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		all[name] = hex.EncodeToString(sum[:])
	}
	return all
}

// compareOutputs requires the same bytes from the same inputs.
func compareOutputs(t *testing.T, when string, want, got map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s, %s has the sha256 %s; it was %s", when, name, got[name], want[name])
		}
	}
}

// removeObjects removes the objects of an earlier run of the test.
func removeObjects(t *testing.T, b *Builder, target Target) {
	t.Helper()
	err := b.docker.VolumeRemove(t.Context(), target.volumes()["/obj"], true)
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatal(err)
	}
}

// TestTurns interrupts a build while another waits.
func TestTurns(t *testing.T) {
	b, r := open(t)
	target := tiny(t, "test-turns")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := b.Compile(ctx, target, CompileOptions{}, filepath.Join(t.TempDir(), "kernel"))
		first <- err
	}()
	for !r.has("compiling") {
		time.Sleep(100 * time.Millisecond)
	}
	second := make(chan error, 1)
	go func() {
		_, err := b.Configure(t.Context(), target, nil)
		second <- err
	}()
	for !r.has("another hookbuild is working on this flavor or source") {
		time.Sleep(100 * time.Millisecond)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled build ends with %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
}
