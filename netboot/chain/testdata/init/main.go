// Command init is the only program of a stand-in for HookOS. It prints the kernel's
// command line on the console and powers off.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Println("mounting /proc:", err)
	}
	line, err := os.ReadFile("/proc/cmdline")
	fmt.Printf("stand-in started with %s (%v)\n", line, err)
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("powering off:", err)
	}
}
