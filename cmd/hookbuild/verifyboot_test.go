package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"hookbuild/cmd/hookbuild/face"
	"hookbuild/machine/verdict"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// TestVerifyBoots boots a system with Debian's kernel, which reads the disk, sends
// through the network card and makes the worker's call, and one that does not call and
// ends. The time limits only bound a test that fails.
func TestVerifyBoots(t *testing.T) {
	testneed.Tool(t, "qemu-system-x86_64")
	p := newPlace(t)
	program := filepath.Join(t.TempDir(), "init")
	compile := exec.Command(testneed.Tool(t, "go"), "build", "-trimpath", "-o", program, "../../machine/verdict/testdata/init")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if said, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	site.Push(t, p.site.Host+"/init:1", map[string]string{"init": readFile(t, program)})
	doc := filepath.Join(t.TempDir(), "doc.yml")
	site.WriteFile(t, doc, "kernel:\n  cmdline: x\ninit:\n  - "+p.site.Host+"/init:1\nfiles:\n  - {path: containers/services/none/config.json, contents: x}\n")
	p.run(0, "linuxkit", "--yaml", doc, "--kernel", "deb:"+kerneltest.CloudKernel(t, "amd64"), "--level", "1")
	dir := t.TempDir()
	junit, console := filepath.Join(dir, "junit.xml"), filepath.Join(dir, "console.log")
	boot := func(code int, more ...string) *verdict.Report {
		t.Helper()
		got := p.run(code, append([]string{"verify", "--boot", "--json", "--accel", "tcg", "--console", console, filepath.Join(p.out, "doc")}, more...)...)
		var all struct{ Boot *verdict.Report }
		if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || all.Boot == nil {
			t.Fatalf("%v\n%s", err, got.stdout)
		}
		return all.Boot
	}
	status := func(r *verdict.Report, name string) verdict.Status {
		return r.Checks[slices.IndexFunc(r.Checks, func(c verdict.Check) bool { return c.Name == name })].Status
	}

	well := boot(0, "--ram", "512", "--timeout", "15m", "--junit", junit, "TINK_WORKER_IMAGE=127.0.0.1/embedded/tink-worker")
	for _, name := range verdict.Names() {
		want := verdict.Passed
		if slices.Contains([]string{verdict.Shell, verdict.Images, verdict.Run}, name) {
			want = verdict.NotSeen // no getty and no image is on board
		}
		if status(well, name) != want {
			t.Errorf("%s: %+v", name, well)
		}
	}
	if text := readFile(t, junit); !strings.Contains(text, `failures="0" skipped="3"`) {
		t.Errorf("%s", text)
	}
	if text := readFile(t, console); !strings.Contains(text, "init: here") {
		t.Errorf("the console's file has\n%s", text)
	}

	silent := boot(1, "--ram", "512", "--disk", "nvme", "--append", "test.call=no", "--timeout", "15m", "--junit", junit)
	if silent.End != "the machine ended" || status(silent, verdict.Init) != verdict.Passed || status(silent, verdict.Worker) != verdict.NotSeen || status(silent, verdict.NIC) != verdict.NotSeen {
		t.Errorf("without a call: %+v", silent)
	}
	if !slices.ContainsFunc(silent.Console, func(line string) bool { return strings.Contains(line, "there is no address to call") }) {
		t.Errorf("the last lines are %q", silent.Console)
	}
	if text := readFile(t, junit); !strings.Contains(text, `failures="2"`) || !strings.Contains(text, "not seen") {
		t.Errorf("%s", text)
	}
	if got := p.run(3, "verify", "--boot", "--from-iso", filepath.Join(p.out, "doc")); !strings.Contains(got.stderr, "build it again with --iso") {
		t.Errorf("without an ISO image:\n%s", got.stderr)
	}
	limited := p.run(1, "verify", "--boot", "--accel", "tcg", filepath.Join(p.out, "doc"), "--ram", "128", "--timeout", "1s")
	for _, want := range []string{"the time limit of 1s was reached", "has no getty on its serial console", "--ram 128: booting this initramfs takes about"} {
		if !strings.Contains(limited.stderr, want) {
			t.Errorf("with a limit of 1 s it does not say %q:\n%s", want, limited.stderr)
		}
	}
}

// foreignArch returns an architecture that this host does not have.
func foreignArch() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

func TestVerifyBootRefuses(t *testing.T) {
	s := site.New(t, nil)
	for _, test := range []struct {
		say  string
		args []string
	}{
		{"--nic applies to a boot; add --boot", []string{"--nic", "igb"}},
		{"--junit applies", []string{"--junit", "f"}},
		{"--ram -1", []string{"--boot", "--ram", "-1"}},
		{"--memory -1", []string{"--boot", "--memory", "-1"}},
		{"--memory applies to a boot; add --boot", []string{"--memory", "512"}},
		{"--timeout 0s", []string{"--boot", "--timeout", "0s"}},
		{`--require "sound" is not one of kernel`, []string{"--boot", "--require", "sound"}},
		{`--nic "ne2k" is not one of e1000e`, []string{"--boot", "--nic", "ne2k"}},
		{`--disk "floppy"`, []string{"--boot", "--disk", "floppy"}},
		{`--firmware "coreboot" is not one of bios, uefi`, []string{"--boot", "--firmware", "coreboot"}},
		{`--accel "warp"`, []string{"--boot", "--accel", "warp"}},
		{"--from-iso applies to a boot", []string{"--from-iso"}},
		{"with UEFI only", []string{"--boot", "--from-iso", "--firmware", "bios"}},
		{"name the directory", []string{"--boot", "--from-iso", "vmlinuz", "initramfs"}},
		{"--accel kvm: it runs machines of this host's architecture", []string{"--boot", "--accel", "kvm", "--arch", foreignArch(), t.TempDir()}},
	} {
		got := runAt(t.Context(), s, append([]string{"verify", "--progress", "plain"}, test.args...)...)
		if got.code != 2 || !strings.Contains(got.stderr, test.say) {
			t.Errorf("%v: exit code %d\n%s", test.args, got.code, got.stderr)
		}
	}
}

// TestBootWithoutQEMU checks that a missing QEMU is reported before the artifacts are
// read.
func TestBootWithoutQEMU(t *testing.T) {
	s := site.New(t, nil)
	t.Setenv("PATH", t.TempDir())
	got := runAt(t.Context(), s, "verify", "--boot", filepath.Join(t.TempDir(), "none"), "--cache-dir", t.TempDir())
	if got.code != 4 || !strings.Contains(got.stderr, "qemu-system-x86_64 is not installed") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
}

// TestBootIsNotSilent checks that each tick of a boot is a line that counts the
// console's lines.
func TestBootIsNotSilent(t *testing.T) {
	var said bytes.Buffer
	f, err := face.New("plain", face.Options{Writer: &said, Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	a := &app{face: f}
	ctx, done := context.WithCancel(t.Context())
	ticks, ended, watched := make(chan time.Time), make(chan struct{}), &console{}
	go func() {
		defer close(ended)
		a.noteBoot(ctx, ticks, watched)
	}()
	if _, err := watched.Write([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	ticks <- time.Now()
	done()
	<-ended
	if !strings.Contains(said.String(), "the console has 2 lines") {
		t.Errorf("it said %q", said.String())
	}
}
