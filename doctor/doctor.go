// Package doctor examines whether a machine can do what hookbuild needs:
// memory, cores and disk, Docker, the terminal, the registries and servers that
// a build contacts, the clock, and QEMU. It changes nothing. Each finding
// states what was seen; what could not be checked is a warning that says so.
package doctor

import (
	"cmp"
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"

	"hookbuild/internal/web"
	"hookbuild/machine"
)

// Status is the outcome of a check.
type Status string

// The outcomes. Fail breaks the commands that the check names.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Found is what was seen, Remedy what to do about it. An OK check has no
	// remedy.
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
	// Breaks says what does not work while the check fails or warns, and Commands
	// which commands. Both are empty if everything works in spite of a warning.
	Breaks   string   `json:"breaks,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Options specify what is examined.
type Options struct {
	// Out and Cache are the directories to which a build writes.
	Out, Cache string
	// Bundle reports that a bundle's images are embedded whose sizes are not known.
	Bundle bool
	// Registries are the hosts from which a build pulls, Servers the web
	// servers from which it fetches lists and sources.
	Registries []Registry
	Servers    []Server
	// Compiles reports whether the build needs a Docker Engine. Described reports
	// whether a build was described at all; without one, kernels may be compiled.
	Compiles, Described bool
	Keychain            authn.Keychain
	Web                 *web.Client
	// Insecure lists registries that are contacted over plain HTTP.
	Insecure []string
	// Docker connects to the Docker Engine.
	Docker func(context.Context) (*client.Client, error)
	// Stdin and Stdout are the streams that the kernel's menu would use.
	Stdin  io.Reader
	Stdout io.Writer
	// Offline skips all checks of the network.
	Offline bool
	Now     func() time.Time
	// Patience is how long a machine with only a boot sector may take; 0 means
	// 5 s.
	Patience time.Duration
}

// Server is a web server that a build needs.
type Server struct {
	Name, URL, Breaks string
	// File reports that the build fetches URL itself, so that it must exist. Else
	// any answer shows that the server can be reached.
	File     bool
	Commands []string
}

// Registry is a host from which a build pulls.
type Registry struct {
	Host string
	// Wanted is what the build asks it for; empty only checks that it answers.
	Wanted []Wanted
	// Commands do not work without it.
	Commands []string
}

// Wanted is an image or a list of tags in a registry. Ask asks for it with the
// user's credentials, fetches no layer, and returns the size of the image's layers.
type Wanted struct {
	Name string
	Ask  func(context.Context) (Size, error)
	// Embedded reports that it is an image to embed, which needs space beside that of
	// the kernel and the root file system.
	Embedded bool
}

// Run runs all checks, the slow ones concurrently, and returns them in a fixed
// order.
func Run(ctx context.Context, o Options) []Check {
	clock, images := &clock{now: o.Now}, &counter{}
	patience := cmp.Or(o.Patience, machine.TryLimit)
	// One trial for both checks: two at once would disturb each other's times.
	emulate := sync.OnceValues(func() (time.Duration, error) { return machine.Try(ctx, "tcg", patience) })
	engine := "" // the engine's directory on this machine
	checks := []func(context.Context) Check{
		func(context.Context) Check { return memory(physicalMemory()) },
		func(context.Context) Check { return cores(runtime.NumCPU()) },
		func(context.Context) Check { return terminal(o) },
		func(ctx context.Context) (c Check) { c, engine = docker(ctx, o); return c },
		func(context.Context) Check { return qemu(emulate) },
		func(ctx context.Context) Check { return kvm(ctx, emulate, patience) },
	}
	if !o.Offline {
		for _, r := range o.Registries {
			checks = append(checks, func(ctx context.Context) Check { return registry(ctx, o, r, clock, images) })
		}
		for _, s := range o.Servers {
			checks = append(checks, func(ctx context.Context) Check { return server(ctx, o, s, clock) })
		}
	}
	found := make([]Check, len(checks))
	var wait sync.WaitGroup
	for i, check := range checks {
		wait.Go(func() { found[i] = check(ctx) })
	}
	wait.Wait()
	const before = 2 // memory and cores
	found = slices.Insert(found, before, disks(o, images.sum, engine)...)
	if o.Offline {
		return found
	}
	return slices.Concat(found, []Check{clock.check()})
}
