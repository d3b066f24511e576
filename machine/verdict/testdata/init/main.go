// Init runs on the boot test's machine instead of a HookOS: it loads the
// drivers of its network card, takes an address of QEMU's network and calls the
// address in grpc_authority as a worker does. With test.call=no it waits for the
// disk and powers off without a call.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("init: here")
	if err := run(); err != nil {
		fmt.Println("init:", err)
	}
	if parameter("test.call") == "no" {
		if err := end(); err != nil {
			fmt.Println("init:", err)
		}
	}
	time.Sleep(time.Hour) // a HookOS keeps running
}

// end powers off after the kernel has read the disk's partitions and the console was
// written.
func end() error {
	for {
		found, err := filepath.Glob("/sys/class/block/nvme*p1")
		if err != nil {
			return err
		}
		if len(found) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	const drain = 1 // TCSBRK with it waits for the output, as tcdrain does
	for {
		err := unix.IoctlSetInt(1, unix.TCSBRK, drain)
		if errors.Is(err, unix.EINTR) { // a signal of Go's scheduler
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for the console: %w", err)
		}
		break
	}
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	if err := mount("proc", "sysfs"); err != nil {
		return err
	}
	authority := parameter("grpc_authority")
	if parameter("test.call") == "no" || authority == "" {
		return errors.New("there is no address to call")
	}
	if err := load("virtio_pci", "virtio_net", "virtio_scsi", "sd_mod"); err != nil {
		return err
	}
	if err := address("eth0", "10.0.2.15", "255.255.255.0"); err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: time.Minute}).Dial("tcp", authority)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	return err
}

func mount(kinds ...string) error {
	for _, kind := range kinds {
		at := map[string]string{"proc": "/proc", "sysfs": "/sys"}[kind]
		if err := errors.Join(os.MkdirAll(at, 0o755), unix.Mount(kind, at, kind, 0, "")); err != nil {
			return fmt.Errorf("mounting %s: %w", at, err)
		}
	}
	return nil
}

func parameter(name string) (value string) {
	line, _ := os.ReadFile("/proc/cmdline")
	for _, word := range strings.Fields(string(line)) {
		if v, ok := strings.CutPrefix(word, name+"="); ok {
			value = v
		}
	}
	return value
}

// load inserts modules after their dependencies. Modules that are built in are
// not in the list.
func load(names ...string) error {
	lists, err := filepath.Glob("/lib/modules/*/modules.dep")
	if err != nil || len(lists) != 1 {
		return fmt.Errorf("lists of modules: %q, %v", lists, err)
	}
	text, err := os.ReadFile(lists[0])
	if err != nil {
		return err
	}
	for _, name := range names {
		for line := range strings.Lines(string(text)) {
			file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			if strings.HasSuffix(file, "/"+name+".ko") {
				for _, need := range append(reversed(strings.Fields(needs)), file) {
					if err := insert(filepath.Join(filepath.Dir(lists[0]), need)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func reversed(list []string) (back []string) {
	for _, s := range list {
		back = append([]string{s}, back...)
	}
	return back
}

func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("loading %s: %w", file, err)
	}
	return nil
}

// address waits for the interface, which a driver may still create.
func address(name, ip, mask string) error {
	var err error
	for range 50 {
		if _, err = net.InterfaceByName(name); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	for _, set := range []struct {
		request uint
		ip      string
	}{{unix.SIOCSIFADDR, ip}, {unix.SIOCSIFNETMASK, mask}, {unix.SIOCSIFFLAGS, ""}} {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if set.ip == "" {
			r.SetUint16(unix.IFF_UP)
		} else if err := r.SetInet4Addr(net.ParseIP(set.ip).To4()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, set.request, r); err != nil {
			return fmt.Errorf("setting the address of %s: %w", name, err)
		}
	}
	return nil
}
