package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// supervise is process 1: it starts the system and reaps every orphan until a
// signal asks for the end, with the meaning that busybox gives to signals.
func supervise() error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	files := []uintptr{0, 1, 2}
	if _, err := syscall.ForkExec("/bin/rc.init", []string{"/bin/rc.init"}, &syscall.ProcAttr{Env: os.Environ(), Files: files}); err != nil {
		return fmt.Errorf("starting /bin/rc.init: %w", err)
	}
	for {
		select {
		case <-children:
			reap()
		case s := <-asked:
			return end(s)
		}
	}
}

// reap collects every child that has ended.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}

// end powers off (SIGUSR2), halts (SIGUSR1) or reboots (SIGTERM).
func end(s os.Signal) error {
	unix.Sync()
	how := map[os.Signal]int{
		unix.SIGUSR1: unix.LINUX_REBOOT_CMD_HALT,
		unix.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF,
		unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART,
	}
	return fmt.Errorf("ending the system: %w", unix.Reboot(how[s]))
}
