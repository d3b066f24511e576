package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/embed"
	"hookbuild/internal/words"
	"hookbuild/linuxkit/size"
	"hookbuild/machine"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// artifactsOf writes a manifest and empty artifacts, and returns the directory for
// --out.
func artifactsOf(t *testing.T, name string, records ...artifact.Build) string {
	t.Helper()
	out := t.TempDir()
	manifest, err := json.Marshal(artifact.Manifest{Schema: 1, Builds: records})
	if err != nil {
		t.Fatal(err)
	}
	site.WriteFile(t, filepath.Join(out, name, artifact.ManifestFile), string(manifest))
	for _, r := range records {
		site.WriteFile(t, filepath.Join(out, name, "vmlinuz-"+r.Arch), "")
		site.WriteFile(t, filepath.Join(out, name, "initramfs-"+r.Arch), "")
	}
	return out
}

func TestVariablesOfRun(t *testing.T) {
	amd64 := artifact.Build{Arch: "x86_64", Flavor: "hook-latest-lts-amd64"}
	out := artifactsOf(t, "hook", amd64, artifact.Build{Arch: "aarch64", Flavor: "hook-default-arm64"})
	const alone = "tink_worker_image=quay.io/tinkerbell/tink-worker:latest tinkerbell_tls=false"
	tests := []struct {
		words         []string
		cmdline, card string
	}{
		{nil, alone, ""},
		{[]string{"TINK_WORKER_IMAGE=127.0.0.1/embedded/tink-worker"}, "tink_worker_image=127.0.0.1/embedded/tink-worker tinkerbell_tls=false", ""},
		{[]string{"TINK_TLS=true"}, "tink_worker_image=quay.io/tinkerbell/tink-worker:latest tinkerbell_tls=true", ""},
		{[]string{"TINK_SERVER=192.0.2.1"}, alone, ""},
		{[]string{"MAC=52:54:00:12:34:56"}, alone, "52:54:00:12:34:56"},
		{[]string{"TINK_SERVER=192.0.2.1", "MAC=52:54:00:12:34:56"},
			alone + " grpc_authority=192.0.2.1:42113 syslog_host=192.0.2.1 worker_id=52:54:00:12:34:56 hw_addr=52:54:00:12:34:56", "52:54:00:12:34:56"},
		{[]string{"TINK_SERVER=2001:db8::1", "MAC=52:54:00:12:34:56", "TINK_GRPC_PORT=1"},
			alone + " grpc_authority=[2001:db8::1]:1 syslog_host=2001:db8::1 worker_id=52:54:00:12:34:56 hw_addr=52:54:00:12:34:56", "52:54:00:12:34:56"},
	}
	for _, test := range tests {
		for _, inEnv := range []bool{false, true} {
			ask(t, inEnv, test.words, []string{"run", "--out", out}, func(a *app, c *cli.Context) error {
				m, err := a.machine(c)
				if m.Cmdline != test.cmdline || m.MAC.String() != test.card {
					t.Errorf("%v, environment %t: got %q and the card %s", test.words, inEnv, m.Cmdline, m.MAC)
				}
				return err
			})
		}
	}
	for _, name := range []string{"qemu-run", "run-qemu", "build-run-qemu"} {
		if root := newRootCommand(&app{}); root.Command(name) != root.Command("qemu") {
			t.Errorf("%s is another command", name)
		}
	}
	ask(t, true, []string{"DOCKER_ARCH=arm64"}, []string{"run", "--out", out}, func(a *app, c *cli.Context) error {
		m, err := a.machine(c)
		if m.Arch != "aarch64" || filepath.Base(m.Kernel) != "vmlinuz-aarch64" {
			t.Errorf("DOCKER_ARCH=arm64 boots %+v", m)
		}
		return err
	})
}

// The worker is the embedded one if no variable names another.
func TestRunTakesTheEmbeddedWorker(t *testing.T) {
	names := [][]string{{"127.0.0.1/embedded/reboot:latest"}, {"quay.io/tinkerbell/tink-worker:v0.12", "127.0.0.1/embedded/tink-worker:latest"}}
	made := artifact.Build{Arch: "x86_64", Flavor: "hook-latest-lts-amd64", Embedded: []artifact.OnBoard{{Names: names[0]}, {Names: names[1]}}}
	out := artifactsOf(t, "hook", made)
	for word, want := range map[string]string{"TINK_TLS=false": "127.0.0.1/embedded/tink-worker:latest", "TINK_WORKER_IMAGE=other:1": "other:1"} {
		ask(t, false, []string{word}, []string{"run", "--out", out}, func(a *app, c *cli.Context) error {
			m, err := a.machine(c)
			if !strings.HasPrefix(m.Cmdline, "tink_worker_image="+want+" ") {
				t.Errorf("%s: the command line is %q", word, m.Cmdline)
			}
			return err
		})
	}
}

func TestMachineOfRun(t *testing.T) {
	large := artifact.Build{Arch: "x86_64", Flavor: "doc", Size: &size.Report{RAM: 2000 << 20, Compressed: 300 << 20}}
	out := artifactsOf(t, "doc", large)
	site.WriteFile(t, filepath.Join(out, "doc/cmdline-x86_64"), "console=tty0 own\n")
	args := []string{"run", "--out", out, "--name", "doc"}
	machineOf := func(more ...string) (m machine.Machine) {
		ask(t, false, nil, append(args[:len(args):len(args)], more...), func(a *app, c *cli.Context) (err error) {
			m, err = a.machine(c)
			return err
		})
		return m
	}
	if m := machineOf(); m.Cmdline != "console=tty0 own" || m.MemoryMB != int(embed.MemoryFor(300<<20, 2000<<20).Least>>20)+512 || m.CPUs != 2 || m.Accel != "tcg" || m.Disk != "" {
		t.Errorf("the document's machine is %+v", m)
	}
	if m := machineOf("--ram", "700"); m.MemoryMB != 700 {
		t.Errorf("--ram makes it %+v", m)
	}
	if m := machineOf("--append", "a=1 b", "--memory", "700", "--cpus", "3", "--accel", "tcg,thread=multi", "--disk", "d", "--nic", "e1000e", "--firmware", "uefi"); m.Cmdline != "console=tty0 own a=1 b" || m.MemoryMB != 700 || m.CPUs != 3 || m.Accel != "tcg,thread=multi" || m.Disk != "d" || m.NIC != "e1000e" || m.Firmware != "uefi" {
		t.Errorf("the flags make it %+v", m)
	}
}

func TestWhatRunRefuses(t *testing.T) {
	s := site.New(t, nil)
	out := artifactsOf(t, "hook", artifact.Build{Arch: "x86_64", Flavor: "hook-latest-lts-amd64"})
	for _, test := range []struct {
		code int
		say  string
		args []string
	}{
		{3, "build them with `hookbuild all`, or build and boot with `hookbuild qemu`, or name", []string{"--out", t.TempDir()}},
		{3, "`hookbuild qemu hook-default-arm64`", []string{"--out", t.TempDir(), "--arch", "arm64"}},
		{3, "build them with `hookbuild all`, or name", []string{"--out", t.TempDir(), "--name", "doc"}},
		{3, "are of hook-latest-lts-amd64; build them with `hookbuild all hook-default-amd64`, or build and boot with `hookbuild qemu hook-default-amd64`, or", []string{"hook-default-amd64"}},
		{3, "not aarch64", []string{"--arch", "arm64"}},
		{2, "is not a MAC address", []string{"MAC=52:54"}},
		{2, "cannot have spaces", []string{"TINK_WORKER_IMAGE=a b"}},
		{2, "--name", []string{"--name", "../x"}},
		{2, "--memory -1", []string{"--memory", "-1"}},
		{2, "--ram -1", []string{"--ram", "-1"}},
		{2, "--cpus 0", []string{"--cpus", "0"}},
		{2, "; use tcg, which emulates the processor", []string{"--arch", foreignArch(), "--accel", "kvm"}},
	} {
		got := runAt(t.Context(), s, append([]string{"run", "--progress", "plain", "--out", out}, test.args...)...)
		if got.code != test.code || !strings.Contains(got.stderr, test.say) {
			t.Errorf("%v: exit code %d\n%s", test.args, got.code, got.stderr)
		}
		if strings.Contains(got.stderr, "no flavor was named") {
			t.Errorf("%v names a flavor that it does not boot\n%s", test.args, got.stderr)
		}
	}
	testneed.Tool(t, "qemu-system-x86_64")
	least := embed.MemoryFor(100<<20, 300<<20).Least
	small := artifactsOf(t, "hook", artifact.Build{Arch: "x86_64", Flavor: "hook-latest-lts-amd64", Size: &size.Report{RAM: 300 << 20, Compressed: 100 << 20}})
	for memory, warned := range map[int64]bool{200: true, (least - 1) >> 20: true, least>>20 + 1: false} {
		got := runAt(t.Context(), s, "run", "--progress", "plain", "--out", small, "--memory", strconv.FormatInt(memory, 10), "--accel", "tcg,nonsense=1")
		if strings.Contains(got.stderr, "takes about "+words.Bytes(least)+" of RAM") != warned {
			t.Errorf("--memory %d:\n%s", memory, got.stderr)
		}
	}
	if got := runAt(t.Context(), s, "run", "--progress", "plain", "--out", small, "--ram", "200", "--accel", "tcg,nonsense=1"); !strings.Contains(got.stderr, "warning: --ram 200: booting this initramfs takes") {
		t.Errorf("the option is not named as it was typed:\n%s", got.stderr)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	got := runAt(t.Context(), s, "run", "--progress", "plain", "--out", out, "--accel", "tcg,nonsense=1", "--disk", disk)
	if got.code != 1 || !strings.Contains(got.stderr, "nonsense") {
		t.Errorf("QEMU's own complaint: exit code %d\n%s", got.code, got.stderr)
	}
	if info, err := os.Stat(disk); err != nil || info.Size() != 10<<30 {
		t.Errorf("the disk: %v, %v", info, err)
	}
	says(t, got.stderr, "made the disk "+disk+": 10 GiB, empty and sparse")
	got = runAt(t.Context(), s, "run", "--progress", "plain", "--out", out, "--accel", "tcg,nonsense=1", "--disk", disk)
	if strings.Contains(got.stderr, "made the disk") {
		t.Errorf("a disk that exists is said to be made:\n%s", got.stderr)
	}
}

// TestRunBoots assembles a document with Debian's kernel and runs it. Its /init prints
// the kernel's command line on the console.
func TestRunBoots(t *testing.T) {
	testneed.Tool(t, "qemu-system-x86_64")
	p := newPlace(t)
	program := filepath.Join(t.TempDir(), "init")
	compile := exec.Command(testneed.Tool(t, "go"), "build", "-trimpath", "-o", program, "../../linuxkit/iso/testdata/init")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if said, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	site.Push(t, p.site.Host+"/init:1", map[string]string{"init": readFile(t, program)})
	doc := filepath.Join(t.TempDir(), "doc.yml")
	site.WriteFile(t, doc, fmt.Sprintf("kernel:\n  cmdline: panic=-1 of-the-document\ninit:\n  - %s/init:1\n", p.site.Host))
	p.run(0, "linuxkit", "--yaml", doc, "--kernel", "deb:"+kerneltest.CloudKernel(t, "amd64"), "--level", "1")

	got := p.run(0, "run", "--name", "doc", "--append", "of-the-command", "--memory", "768")
	if !strings.Contains(got.stdout, "BOOT no_timer_check panic=-1 of-the-document of-the-command console=ttyS0") {
		t.Errorf("the console shows\n%s\n%s", got.stdout, got.stderr)
	}
	if !strings.Contains(got.stderr, "Ctrl-A x") {
		t.Errorf("the notes do not say how to stop it:\n%s", got.stderr)
	}

	// This machine has no /init and stays in its panic, so only Ctrl-A x ends it.
	var ended bytes.Buffer
	code := run(t.Context(), []string{"run", "--progress", "plain", "--out", p.out, "--name", "doc", "--append", "panic=0 rdinit=/none"}, environment{
		getenv: func(string) string { return "" }, stdin: strings.NewReader("\x01x"), stdout: &ended, stderr: &ended,
	})
	if code != 0 || strings.Contains(ended.String(), "BOOT ") {
		t.Errorf("Ctrl-A x on the console: exit code %d\n%s", code, ended.String())
	}
}

// TestQEMUBuildsFirst checks that qemu builds the flavor and boots what it built, and
// that hookbuild.yaml's choices are its own.
func TestQEMUBuildsFirst(t *testing.T) {
	programs := t.TempDir()
	site.WriteFile(t, filepath.Join(programs, "qemu-system-x86_64"), "#!/bin/sh\ncase $* in *,help) echo virtio-net-pci options:; exit 0 ;; esac\necho \"QEMU got $*\" >&2\nexit 1\n")
	if err := os.Chmod(filepath.Join(programs, "qemu-system-x86_64"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	p := newPlace(t)
	dir := filepath.Join(t.TempDir(), "kernel")
	site.WriteFile(t, filepath.Join(dir, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "")))
	site.WriteFile(t, filepath.Join(dir, "lib/modules/6.6.1/modules.builtin"), "")
	work := t.TempDir()
	site.WriteFile(t, filepath.Join(work, "hookbuild.yaml"), fmt.Sprintf(
		"hook: {dir: %s}\nflavors: [hook-latest-lts-amd64]\nkernel: {from: %q}\noutput: {compression: gzip}\n", p.site.Dir, "dir:"+dir))
	t.Chdir(work)
	args := []string{"--accel", "tcg,thread=single", "--append", "of-the-command"}

	got := p.run(1, append([]string{"qemu"}, args...)...)
	for _, want := range []string{"using hookbuild.yaml", "booting " + filepath.Join(p.out, "hook/vmlinuz-latest-lts-x86_64"), "of-the-command", "QEMU got ", "-accel tcg,thread=single "} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("qemu does not say %q:\n%s", want, got.stderr)
		}
	}
	first := readFile(t, filepath.Join(p.out, "hook/manifest.json"))

	overlay := filepath.Join(work, "overlay.yaml")
	site.WriteFile(t, overlay, "files:\n  - path: etc/added\n    contents: \"added\"\n")
	p.run(1, append([]string{"build-run-qemu", "hook-latest-lts-amd64", "--overlay", overlay}, args...)...)
	if readFile(t, filepath.Join(p.out, "hook/manifest.json")) == first {
		t.Error("qemu boots the old build after a change")
	}
	got = p.run(1, append([]string{"qemu", "hook-latest-lts-amd64", "FORCE_OUTPUT_ID=mine", "TINK_SERVER=192.0.2.1"}, args...)...)
	says(t, got.stderr, "booting "+filepath.Join(p.out, "hook/vmlinuz-mine-x86_64"), "no disk")
	before := readFile(t, filepath.Join(p.out, "hook/manifest.json"))
	for say, wrong := range map[string]string{
		"is not a MAC address": "MAC=xx", `--nic "nosuch" is not one of`: "--nic=nosuch", "at least one processor": "--cpus=0",
		`--accel "warp" is not one of`: "--accel=warp", `--accel "auto,thread=single": auto takes no options`: "--accel=auto,thread=single", "is a directory": "--disk=" + work,
		"then boot with `hookbuild run --firmware uefi`":         "--firmware=uefi",
		"TINK_SERVER=a b: a kernel parameter cannot have spaces": "TINK_SERVER=a b",
	} {
		says(t, p.run(2, "qemu", "hook-latest-lts-amd64", wrong).stderr, say)
		if readFile(t, filepath.Join(p.out, "hook/manifest.json")) != before {
			t.Errorf("%s is found after the build", wrong)
		}
	}
	says(t, p.run(3, "qemu", "hook-latest-lts-amd64", "--disk", filepath.Join(work, "none/disk")).stderr, "--disk: stat "+filepath.Join(work, "none"))
	if got := p.run(2, "qemu", "--yaml", "doc.yml"); !strings.Contains(got.stderr, "no option --yaml") {
		t.Errorf("qemu of a document says:\n%s", got.stderr)
	}
}
