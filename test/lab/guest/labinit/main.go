// Command labinit is the user space that a machine of the lab starts with. It
// stands in for LinuxKit's init, written from that program's behaviour, and
// keeps its faults, for they are what hookbuild must survive: see moveRoot.
//
// It is one static binary under several names:
//
//	/init          moves the root to a new tmpfs and runs /sbin/init
//	/sbin/init     process 1: runs /bin/rc.init, reaps, powers off
//	/bin/rc.init   mounts what a system needs and runs /etc/init.d/*
//	service        as "*-onboot": runs the containers of /containers/onboot one
//	               by one; as "*-services": starts those of /containers/services
//
// Left out, beside what no lab machine needs (hotplug, clock, volumes): a
// containerd; services are started by runc itself.
//
// Everything worth a measurement is a line on the console that begins with
// "hookos-demo"; package lab reads them.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[0]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

// run does what the name that the program was called by stands for.
func run(name string) error {
	base := filepath.Base(name)
	switch {
	case name == "/init":
		return enterNewRoot()
	case base == "init":
		return supervise()
	case base == "rc.init":
		return startSystem()
	case strings.HasSuffix(base, "-onboot"):
		return runOnboot("/containers/onboot")
	case strings.HasSuffix(base, "-services"):
		return startServices("/containers/services")
	}
	return fmt.Errorf("unknown name %q", name)
}

// event prints a line for package lab: what happened, and when.
func event(what string, details ...string) {
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		uptime = []byte("0")
	}
	at, _, _ := strings.Cut(strings.TrimSpace(string(uptime)), " ")
	fmt.Printf("hookos-demo: %s after %s s: %s\n", what, at, strings.Join(details, " "))
}
