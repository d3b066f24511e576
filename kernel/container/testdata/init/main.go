// Command init is the only program of a machine that tests a kernel: it prints
// which kernel runs it, loads nothing, and resets the machine.
package main

import (
	"fmt"
	"os"
	"syscall"
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
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("reset:", err)
	}
	select {}
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
