// Package netboot holds what network boot of EKS Anywhere's bare-metal machines
// needs from a DHCP service: which machine is told what, in which phase, by
// which release. It writes no format and talks to no network.
//
//	hardware.csv -> hardware.Machine \
//	                                  Plan -> a Server's Render -> files
//	Options (addresses, release)    /      \-> check: a Server's Parse, asked and compared
//	                                        \-> serve: answers by itself, in a lab
//
// Each kind of DHCP server is one package beside this one that implements
// [Server]: dnsmasq, kea, dhcpd, windows. They do not know each other.
//
// A machine boots in two steps. Its firmware asks for a program and says in
// option 93 what it is; it is told the iPXE program for that architecture.
// That program asks again, with user class "Tinkerbell" in option 77, and is
// told the URL of the script auto.ipxe. Both must get the address of the row
// in hardware.csv, for Tinkerbell knows the machine by it.
//
// Left out on purpose: IPv6; 32-bit x86 and Raspberry Pi firmware; making
// address pools or scopes of a site.
package netboot

import (
	"fmt"
	"slices"
	"strings"
)

// Phase says which of the two Tinkerbell stacks serves the machines.
type Phase string

// The phases. The bootstrap stack serves while "create cluster" builds the
// management cluster; the cluster's own serves from then on.
const (
	Bootstrap Phase = "bootstrap"
	Cluster   Phase = "cluster"
)

// ParsePhase reads a phase's name.
func ParsePhase(s string) (Phase, error) {
	switch p := Phase(s); p {
	case Bootstrap, Cluster:
		return p, nil
	}
	return "", fmt.Errorf("reading the phase %q: it is %q or %q", s, Bootstrap, Cluster)
}

// Other is the phase that p is switched to.
func (p Phase) Other() Phase {
	if p == Bootstrap {
		return Cluster
	}
	return Bootstrap
}

// Mode says what is to be written.
type Mode int

// The modes.
const (
	// Full is a complete configuration of a server of its own.
	Full Mode = iota
	// Fragment is what an existing server includes.
	Fragment
	// Proxy leaves the addresses to another server and tells only what to
	// boot (dnsmasq alone can).
	Proxy
)

func (m Mode) String() string {
	return [...]string{"full", "fragment", "proxy"}[m]
}

// Refuse returns an error unless the server has the mode.
func Refuse(s Server, m Mode) error {
	if slices.Contains(s.Modes(), m) {
		return nil
	}
	return fmt.Errorf("writing for %s: it has no %s mode", s.Name(), m)
}

// File is one file of a rendered configuration.
type File struct {
	// Name is its proposed base name.
	Name    string
	Content []byte
}

// Opener gives the content of a configuration file, or of one that it
// includes.
type Opener func(name string) ([]byte, error)

// Server is one kind of DHCP server that a plan can be written for.
type Server interface {
	// Name is its word on the command line: "kea".
	Name() string
	// Modes lists what can be written for the server, the default first.
	Modes() []Mode
	// Render writes the plan in the server's language, in one of the modes.
	// Equal plans have equal bytes.
	Render(p *Plan, m Mode) ([]File, error)
	// Parse reads a configuration, and what it includes, so that it can be
	// asked. The findings name what is wrong in itself and what was not
	// understood. Config is nil for a file that cannot be evaluated, such as
	// one that is no configuration of this server.
	Parse(open Opener, name string) (Config, []Finding)
	// Checker is the command line of the server's own check of a file; nil
	// when it has none.
	Checker(file string) []string
	// Apply says, in the order of doing, how a changed file takes effect; ""
	// is the server's usual file, for a change in one that it includes.
	Apply(file string) []string
}

// Config answers as a server with that configuration does.
type Config interface {
	// Answer returns what a client is told, or false for no answer. Where
	// that depends on something that was not evaluated, Reply.Unsure says so,
	// and the other fields are not known.
	Answer(Request) (Reply, bool)
}

// Level says what a finding means for the machines.
type Level int

// The levels.
const (
	// Wrong keeps machines that count from booting.
	Wrong Level = iota
	// Remark is worth a look: machines that count boot all the same.
	Remark
	// Unknown says that something was not evaluated, so that what machines
	// get is not known.
	Unknown
)

func (l Level) String() string {
	return [...]string{"wrong", "remark", "not known"}[l]
}

// Finding is one thing to say about a configuration.
type Finding struct {
	File string
	// Line is the place, from 1; 0 when it concerns the whole file.
	Line  int
	Level Level
	Text  string
	// Remedy says what to do; it may be empty.
	Remedy string
}

// NotOf returns the finding for a file that is no configuration of the server.
func NotOf(s Server, file, why string) Finding {
	return Finding{File: file, Text: "this is not a configuration of " + s.Name() + ": " + why, Remedy: "name the server that it is for with --server"}
}

// String is "file:line: text: remedy".
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File + ":")
		if f.Line > 0 {
			fmt.Fprintf(&b, "%d:", f.Line)
		}
		b.WriteByte(' ')
	}
	b.WriteString(f.Text)
	if f.Remedy != "" {
		b.WriteString(": " + f.Remedy)
	}
	return b.String()
}
