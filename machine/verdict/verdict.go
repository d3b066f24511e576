// Package verdict boots a HookOS in QEMU and reports what was seen of the boot.
//
//	console lines     -> kernel, init, disk, memory
//	captured frames   -> nic
//	a listening port  -> worker, and what its call implies: store, dockerd
//	commands, typed at the console -> console, images, run, and the drivers of disk and nic
//
// HookOS needs nothing beyond what upstream's template has: a serial console,
// its getty, the kernel's command line, DHCP and the worker that its bootkit
// starts. What did not show is "not seen", which does not prove that it is
// missing.
package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is the result of one check.
type Status string

// The results.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	NotSeen Status = "not seen"
)

// The names of the checks, in the order of a report.
const (
	Kernel  = "kernel"  // the kernel runs
	Init    = "init"    // init was started from the initramfs, and its programs write to the console
	Memory  = "memory"  // nothing ran out of memory
	Disk    = "disk"    // a driver read the disk's partition table
	NIC     = "nic"     // a driver sent frames through the network card, or named it
	Shell   = "console" // a shell answers on the serial console
	Store   = "store"   // the embedded images are where dockerd looks
	Dockerd = "dockerd" // dockerd runs containers
	Images  = "images"  // dockerd lists every embedded image
	Run     = "run"     // dockerd starts a container of an embedded image
	Worker  = "worker"  // its first call reached the Tinkerbell in its command line
)

// Names returns the names of all checks, in the order of a report.
func Names() []string {
	return []string{Kernel, Init, Memory, Disk, NIC, Shell, Store, Dockerd, Images, Run, Worker}
}

// Quiet is the End of a boot that was given up: nothing more was to be seen.
const Quiet = "the machine is quiet, and has no getty to ask on its serial console"

// Check is one property of a boot.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Required checks must pass for the boot to pass.
	Required bool `json:"required"`
	// Seconds is the time since the start of QEMU at which it was seen.
	Seconds float64 `json:"seconds,omitempty"`
	// Found is the evidence, or where it was looked for.
	Found string `json:"found"`
}

// bad reports whether the check makes its boot fail.
func (c Check) bad() bool { return c.Status == Failed || c.Required && c.Status != Passed }

// Report describes what was seen of a boot.
type Report struct {
	Machine  string `json:"machine"`
	MemoryMB int    `json:"memoryMiB"`
	// UsedMB is the memory in use after a container was started, if the shell on
	// the console said it.
	UsedMB  int     `json:"usedMemoryMiB,omitempty"`
	Seconds float64 `json:"seconds"`
	// End is why watching the machine ended.
	End    string  `json:"end"`
	Checks []Check `json:"checks"`
	// Console holds the last lines of a boot that failed.
	Console []string `json:"console,omitempty"`
}

// Bad returns the checks that make the boot fail; none if it passed.
func (r *Report) Bad() []Check {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(c Check) bool { return !c.bad() })
}

// network describes what the host saw of the machine's network.
type network struct {
	// Sent is when the machine had sent its first frame; 0 means never.
	Sent time.Duration
	// Called is when a connection to Tinkerbell's port had sent the preface of
	// HTTP/2, with which every gRPC client begins; 0 means never.
	Called time.Duration
	// Other describes the last connection that sent something else.
	Other string
}

// judge returns the checks of a boot with that console, network and conversation
// with a shell, of a machine with images on board that was told to run the
// worker's image. It only compares.
func judge(c *Console, n network, f found, images int, workerImage string, required []string) []Check {
	checks := []Check{
		c.judgeKernel(), c.judgeInit(), c.judgeMemory(f), c.judgeDisk(f), judgeNIC(c, n, f), judgeShell(f),
		judgeStore(n, f, workerImage), judgeDockerd(n, f), judgeAsked(Images, f.listed, f.lacking, f, images), judgeAsked(Run, f.ran, f.refused, f, images), judgeWorker(n),
	}
	for i := range checks {
		checks[i].Required = slices.Contains(required, checks[i].Name)
	}
	return checks
}

func passed(name string, at time.Duration, format string, args ...any) Check {
	return Check{Name: name, Status: Passed, Seconds: at.Seconds(), Found: fmt.Sprintf(format, args...)}
}

func failed(name string, s sight) Check {
	return Check{Name: name, Status: Failed, Seconds: s.at.Seconds(), Found: s.text}
}

func notSeen(name, where string) Check { return Check{Name: name, Status: NotSeen, Found: where} }

func judgeNIC(c *Console, n network, f found) Check {
	named := cmp.Or(f.nic.text, c.nic.text)
	switch {
	case n.Sent > 0 && named != "":
		return passed(NIC, n.Sent, "the machine sent frames; %s", named)
	case n.Sent > 0:
		return passed(NIC, n.Sent, "the machine sent frames through its only card")
	case named != "":
		return passed(NIC, cmp.Or(f.nic.at, c.nic.at), "%s (no frame was sent)", named)
	}
	return notSeen(NIC, "the machine sent no frame, and no line of the console names the card")
}

func judgeWorker(n network) Check {
	switch {
	case n.Called > 0:
		return passed(Worker, n.Called, "an HTTP/2 client called the address in grpc_authority")
	case n.Other != "":
		return notSeen(Worker, "a connection to the address in grpc_authority did not begin as gRPC does: "+n.Other)
	}
	return notSeen(Worker, "no connection reached the address in grpc_authority")
}

// noShell says why nothing could be asked.
func noShell(f found) string {
	switch {
	case f.login:
		return "the serial console asks for a login"
	case f.shell.seen():
		return cmp.Or(f.noDocker, "the shell on the serial console did not answer in time")
	}
	if f.noGetty {
		return "the initramfs has no getty, so no shell answers on the serial console"
	}
	return "no shell answered on the serial console, where upstream's template starts a getty"
}

func judgeShell(f found) Check {
	if f.shell.seen() {
		return passed(Shell, f.shell.at, "%s", f.shell.text)
	}
	return notSeen(Shell, noShell(f))
}

// judgeAsked judges what the shell was asked about the embedded images.
func judgeAsked(name string, good, bad sight, f found, images int) Check {
	switch {
	case good.seen():
		return passed(name, good.at, "%s", good.text)
	case bad.seen():
		return failed(name, bad)
	case images == 0:
		return notSeen(name, "no image is known to be embedded")
	}
	return notSeen(name, noShell(f))
}

func judgeDockerd(n network, f found) Check {
	switch {
	case f.dockerd.seen():
		return passed(Dockerd, f.dockerd.at, "%s", f.dockerd.text)
	case n.Called > 0:
		return passed(Dockerd, n.Called, "implied by the worker's call: HookOS runs the worker in dockerd")
	}
	return notSeen(Dockerd, "the worker has not called, and "+noShell(f))
}

func judgeStore(n network, f found, workerImage string) Check {
	const loopback = "127.0.0.1/"
	switch {
	case f.listed.seen():
		return passed(Store, f.listed.at, "%s", f.listed.text)
	case !strings.HasPrefix(workerImage, loopback):
		return notSeen(Store, fmt.Sprintf("the worker's image %q may also come from a registry", workerImage))
	case n.Called > 0:
		return passed(Store, n.Called, "implied by the worker's call: no registry has %s", workerImage)
	}
	return notSeen(Store, "the worker has not called, and "+noShell(f))
}
