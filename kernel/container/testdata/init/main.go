// Command init is the only program of a machine that tests a kernel: it prints
// which kernel runs it, loads the modules in /modules, and resets the machine.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

func main() {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		fmt.Println("uname:", err)
	}
	fmt.Printf("userspace runs on Linux %s %s\n", text(name.Release[:]), text(name.Machine[:]))
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Println("mounting proc:", err)
	}
	config, err := os.ReadFile("/proc/config.gz")
	fmt.Printf("its configuration has %d bytes (%v)\n", len(config), err)
	load()
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("reset:", err)
	}
	select {}
}

// load loads the modules in /modules and prints how the kernel is tainted then.
func load() {
	names, err := filepath.Glob("/modules/*.ko")
	if err != nil || len(names) == 0 {
		return
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err == nil && len(content) > 0 {
			err = initModule(content)
		}
		fmt.Printf("%s is loaded: %v\n", name, err)
	}
	taint, err := os.ReadFile("/proc/sys/kernel/tainted")
	fmt.Printf("the taint is %s (%v)\n", taint, err)
}

func initModule(content []byte) error {
	arguments, err := syscall.BytePtrFromString("")
	if err != nil {
		return err
	}
	_, _, failed := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&content[0])), uintptr(len(content)), uintptr(unsafe.Pointer(arguments)))
	if failed != 0 {
		return failed
	}
	return nil
}

// text converts a C string, whose characters are signed on some architectures.
func text[T int8 | uint8](field []T) string {
	var out []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}
