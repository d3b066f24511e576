package machine

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

func TestArguments(t *testing.T) {
	mac, err := net.ParseMAC("52:54:00:12:34:56")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		m          Machine
		has, lacks []string
	}{
		{"emulated", Machine{Arch: "x86_64", Cmdline: "a b"},
			[]string{"-accel tcg", "-m 2048", "-smp 2", "-serial mon:stdio", "-no-reboot", "-append no_timer_check a b console=ttyS0"}, []string{"mac=", "drive", "-cpu host"}},
		{"emulated with an option", Machine{Arch: "x86_64", Accel: "tcg,thread=single"}, []string{"-accel tcg,thread=single", "no_timer_check"}, []string{"-cpu host"}},
		{"accelerated", Machine{Arch: "x86_64", Accel: "kvm", MemoryMB: 4096, CPUs: 3},
			[]string{"-accel kvm", "-cpu host", "-m 4096", "-smp 3", "-append console=ttyS0"}, []string{"no_timer_check"}},
		{"other architecture", Machine{Arch: "aarch64"}, []string{"-machine virt", "-append console=ttyAMA0"}, []string{"no_timer_check"}},
		{"models", Machine{Arch: "x86_64", NIC: "e1000e", Disk: "d", Controller: "nvme", Capture: "c,d"},
			[]string{"-device e1000e,netdev=net", "-device nvme,serial=hookbuild,drive=disk", "filter-dump,id=capture,netdev=net,file=c,,d"}, []string{"scsi", "virtio-net"}},
		{"card and disk", Machine{Arch: "x86_64", MAC: mac, Disk: "a,b"}, []string{"mac=52:54:00:12:34:56", "file=a,,b", "scsi-hd"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(test.m.arguments(kinds()[test.m.Arch]), " ")
			for _, part := range test.has {
				if !strings.Contains(got, part) {
					t.Errorf("%s\nlacks %q", got, part)
				}
			}
			for _, part := range test.lacks {
				if strings.Contains(got, part) {
					t.Errorf("%s\nhas %q", got, part)
				}
			}
		})
	}
}

// QEMU itself accepts the arguments of both architectures.
func TestQEMUKnowsTheArguments(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk,1")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for arch, k := range kinds() {
		testneed.Tool(t, k.program)
		m := Machine{Arch: arch, Kernel: disk, Initramfs: disk, Disk: disk, MemoryMB: 64}
		cmd, err := m.Command(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args[:len(cmd.Args)-6], "-S") // without -kernel, -initrd and -append; the monitor ends it
		cmd.Stdin = strings.NewReader("\x01cquit\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", arch, err, out)
		}
	}
}

// Every model that this QEMU has starts; only igb may be too new for it.
func TestQEMUHasTheModels(t *testing.T) {
	program := testneed.Tool(t, "qemu-system-x86_64")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(m Machine) {
		t.Helper()
		m.Arch, m.Kernel, m.Initramfs, m.Disk, m.MemoryMB = "x86_64", disk, disk, disk, 64
		cmd, err := m.Command(t.Context())
		if m.NIC == "igb" && fault.KindOf(err) == fault.Outside && strings.Contains(err.Error(), "QEMU 8.0") {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		cmd.Args = append(cmd.Args[:len(cmd.Args)-6], "-S")
		cmd.Stdin = strings.NewReader("\x01cquit\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", m, err, out)
		}
	}
	for _, nic := range NICs() {
		start(Machine{NIC: nic})
	}
	for _, controller := range Controllers() {
		start(Machine{Controller: controller})
	}
	for _, wrong := range []Machine{{NIC: "ne2k"}, {Controller: "floppy"}} {
		if err := wrong.checkDevices(t.Context(), program); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

func TestFirmware(t *testing.T) {
	for _, wrong := range []Machine{{Arch: "aarch64", Firmware: "bios"}, {Arch: "x86_64", Firmware: "coreboot"}} {
		if _, err := wrong.firmware(); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	for arch, known := range uefiFiles() {
		args, err := Machine{Arch: arch, Firmware: "uefi"}.firmware()
		if err != nil && (fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), known.debian)) || err == nil && len(args) != 2 {
			t.Errorf("%s: %q, %v", arch, args, err)
		}
	}
}

// QEMU itself accepts every firmware file that is installed here.
func TestQEMUTakesTheFirmware(t *testing.T) {
	for arch, known := range uefiFiles() {
		for _, file := range known.files {
			if _, err := os.Stat(file); err != nil {
				continue
			}
			k := kinds()[arch]
			args := append(firmwareArguments(arch, file), "-nodefaults", "-no-user-config", "-display", "none", "-serial", "mon:stdio", "-machine", k.machine, "-m", "64", "-S")
			cmd := exec.CommandContext(t.Context(), testneed.Tool(t, k.program), args...)
			cmd.Stdin = strings.NewReader("\x01cquit\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", file, err, out)
			}
		}
	}
}

// The boot sector is what its source says, and fits.
func TestTrialIsItsSource(t *testing.T) {
	as, ld := testneed.Tool(t, "x86_64-linux-gnu-as"), testneed.Tool(t, "x86_64-linux-gnu-ld")
	dir := t.TempDir()
	for _, command := range []*exec.Cmd{
		exec.CommandContext(t.Context(), as, "--64", "-o", filepath.Join(dir, "o"), "trial/boot.s"),
		exec.CommandContext(t.Context(), ld, "-m", "elf_x86_64", "-Ttext", "0x7c00", "--oformat", "binary", "-o", filepath.Join(dir, "bin"), filepath.Join(dir, "o")),
	} {
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command.Args, err, out)
		}
	}
	made, err := os.ReadFile(filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, trial) || len(trial) > 510 {
		t.Errorf("trial/boot.s becomes %d bytes, trial/boot.bin has %d", len(made), len(trial))
	}
}

// fakeQEMU puts a QEMU first in PATH that runs a script: tcg and kvm are what it does
// with these accelerators.
func fakeQEMU(t *testing.T, tcg, kvm string) {
	t.Helper()
	dir := t.TempDir()
	program := "#!/bin/sh\ncase \"$*\" in *'-accel kvm'*) " + kvm + ";; *) " + tcg + ";; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// KVM that runs, but is far slower than emulation, is not used, and is not waited for.
func TestSlowKVM(t *testing.T) {
	for name, test := range map[string]struct {
		kvm      string
		emulated time.Duration
		stuck    bool
	}{
		"slow":      {"exec sleep 60", time.Millisecond, true},
		"slower":    {"sleep 1.3; exit 33", 100 * time.Millisecond, true},
		"as fast":   {"exit 33", 20 * time.Second, false},
		"late once": {"test -e $0.once && exit 33; touch $0.once; exec sleep 60", 100 * time.Millisecond, false},
	} {
		fakeQEMU(t, "exit 33", test.kvm)
		begun := time.Now()
		took, err := TryKVM(t.Context(), test.emulated, time.Minute)
		if errors.Is(err, ErrStuck) != test.stuck || (err == nil) == test.stuck || (took == 0) != test.stuck {
			t.Errorf("%s: %s, error %v", name, took, err)
		}
		if test.stuck && !strings.Contains(err.Error(), "; emulated, the same takes ") {
			t.Errorf("%s: error %v", name, err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// Without a time of emulation, KVM is not called slower than that.
func TestKVMWithoutComparison(t *testing.T) {
	fakeQEMU(t, "exit 1", "exec sleep 60")
	if took, err := Try(t.Context(), "tcg", time.Minute); took != 0 || err == nil {
		t.Errorf("emulation that fails: %s, error %v", took, err)
	}
	if _, err := TryKVM(t.Context(), 0, 100*time.Millisecond); !errors.Is(err, ErrStuck) || strings.Contains(err.Error(), "emulated") {
		t.Errorf("error %v", err)
	}
}

func TestChooseAccel(t *testing.T) {
	if accel, why, err := ChooseAccel(t.Context(), "hvf", "x86_64"); accel != "hvf" || why != "" || err != nil {
		t.Errorf("a name: %q, %q, %v", accel, why, err)
	}
	if accel, why, err := ChooseAccel(t.Context(), "auto", "riscv64"); accel != "tcg" || why == "" || err != nil {
		t.Errorf("another architecture: %q, %q, %v", accel, why, err)
	}
	accel, why, err := ChooseAccel(t.Context(), "auto", "x86_64")
	if err != nil || (accel == "kvm") != (why == "") || accel != "kvm" && accel != "tcg" {
		t.Errorf("auto: %q, %q, %v", accel, why, err)
	}
}

func TestCheckAccel(t *testing.T) {
	for _, name := range []string{"auto", "tcg", "tcg,thread=single"} {
		if err := CheckAccel(name, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := map[string]string{"warp": "is not one of", "": "is not one of", "auto,thread=single": "takes no options"}
	if runtime.GOOS != "darwin" {
		wrong["hvf"] = "only on macOS"
	}
	for name, want := range wrong {
		if err := CheckAccel(name, ""); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckAccel("tcg", "riscv64"); err != nil {
		t.Errorf("emulation of another architecture: %v", err)
	}
	const want = "and this one is of riscv64; use tcg, which emulates"
	if err := CheckAccel("kvm", "riscv64"); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
		t.Errorf("kvm of another architecture: %v", err)
	}
	dir := t.TempDir()
	for device, want := range map[string]string{filepath.Join(dir, "none"): "this host has no /dev/kvm; use tcg", dir: "is a directory; use tcg"} {
		if err := checkKVM(device); fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", device, err)
		}
	}
}

func TestWhatCannotBoot(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Machine{Arch: "aarch64", Kernel: "k"}.Command(t.Context())
	if fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "qemu-system-arm") {
		t.Errorf("without QEMU: %v", err)
	}
	_, err = Machine{Arch: "riscv64"}.Command(t.Context())
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("an unknown architecture: %v", err)
	}
	program := filepath.Join(os.Getenv("PATH"), "qemu-system-x86_64")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Machine{Arch: "x86_64", Kernel: "not/there"}.Command(t.Context())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a kernel: %v", err)
	}
}

// Options of QEMU follow the name of an accelerator.
func TestUsesKVM(t *testing.T) {
	for accel, want := range map[string]bool{"": false, "tcg": false, "tcg,thread=single": false, "kvm": true, "kvm,kernel-irqchip=off": true, "hvf": false} {
		if got := (Machine{Accel: accel}).UsesKVM(); got != want {
			t.Errorf("%q: %v", accel, got)
		}
	}
}
