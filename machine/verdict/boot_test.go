package verdict

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/machine"
)

// TestKVMFails boots with programs that fail as QEMU does, by ending or by stopping the
// machine and staying.
func TestKVMFails(t *testing.T) {
	const remedy = "use the accelerator tcg (--accel tcg), which emulates the processor: qemu-system-x86_64: "
	const denied = "echo 'Could not access KVM kernel module: Permission denied' >&2; echo 'qemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied' >&2; exit 1"
	for name, test := range map[string]struct {
		accel, script, want string
		kind                fault.Kind
	}{
		"denied":      {"kvm", denied, remedy + "exit status 1: Could not access KVM kernel module: Permission denied; qemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied", fault.Outside},
		"stopped":     {"kvm", "echo 'KVM internal error. Suberror: 1' >&2; echo 'RAX=0000000000000000' >&2; exec sleep 600", remedy + "it stopped the machine: KVM internal error. Suberror: 1", fault.Outside},
		"other cause": {"kvm", "echo 'cannot set up guest memory' >&2; exit 1", "exit status 1: cannot set up guest memory", fault.Failed},
		"emulated":    {"tcg", denied, "\"vmlinuz\": qemu-system-x86_64: exit status 1: Could not", fault.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for file, text := range map[string]string{"vmlinuz": "", "initramfs": "", "qemu-system-x86_64": "#!/bin/sh\n" + test.script + "\n"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			begun := time.Now()
			_, err := Boot(t.Context(), Options{
				Machine: machine.Machine{Arch: "x86_64", Accel: test.accel, Kernel: "vmlinuz", Initramfs: "initramfs"}, Required: []string{Kernel}, Timeout: 5 * time.Minute,
			})
			if fault.KindOf(err) != test.kind || !strings.HasSuffix(err.Error(), test.want) && !strings.Contains(err.Error(), test.want+" ") {
				t.Errorf("the error is %v", err)
			}
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}
