// Package netboot plans the DHCP answers that EKS Anywhere's bare-metal machines
// need to boot from the network: what each machine is told, by phase and by
// release. It writes no configuration format and does no network I/O.
//
//	hardware.csv -> hardware.Machine \
//	                                  Plan -> a Server's Render -> files
//	Options (addresses, release)    /      \-> check: a Server's Parse, asked and compared
//	                                        \-> serve: answers DHCP itself, in a lab
//
// Each kind of DHCP server is a package below this one that implements [Server]:
// dnsmasq, kea, dhcpd, windows. They do not import each other.
//
// A machine boots in two steps. First its firmware sends a request with its
// architecture in option 93, and the answer names the iPXE program for that
// architecture. Then iPXE sends a request with user class "Tinkerbell" in option
// 77, and the answer names the URL of the script auto.ipxe. Both must get the
// address of the row in hardware.csv, by which Tinkerbell knows the machine.
//
// Left out on purpose: IPv6; 32-bit x86 and Raspberry Pi firmware; creating the
// address pools or scopes of a site.
package netboot

import (
	"fmt"
	"slices"
	"strings"
)

// Phase names the Tinkerbell stack that serves the machines.
type Phase string

// The phases. The bootstrap stack serves while "create cluster" builds the
// management cluster. The cluster's own stack serves from then on.
const (
	Bootstrap Phase = "bootstrap"
	Cluster   Phase = "cluster"
)

// ParsePhase returns the phase of that name.
func ParsePhase(s string) (Phase, error) {
	switch p := Phase(s); p {
	case Bootstrap, Cluster:
		return p, nil
	}
	return "", fmt.Errorf("reading the phase %q: choose %q or %q", s, Bootstrap, Cluster)
}

// Other returns the phase that is not p.
func (p Phase) Other() Phase {
	if p == Bootstrap {
		return Cluster
	}
	return Bootstrap
}

// Mode says how much of a configuration is written.
type Mode int

// The modes.
const (
	// Full is the complete configuration of a dedicated server.
	Full Mode = iota
	// Fragment is a part for the configuration of an existing server to
	// include.
	Fragment
	// Proxy is the configuration of a server that sends only what to boot and
	// leaves the addresses to another server. Only dnsmasq supports it.
	Proxy
)

func (m Mode) String() string {
	return [...]string{"full", "fragment", "proxy"}[m]
}

// Refuse returns an error unless the server supports the mode.
func Refuse(s Server, m Mode) error {
	if slices.Contains(s.Modes(), m) {
		return nil
	}
	return fmt.Errorf("writing a configuration of %s: it has no %s mode", s.Name(), m)
}

// File is one file of a rendered configuration.
type File struct {
	// Name is the suggested base name.
	Name    string
	Content []byte
	// Use says how the server's configuration includes the file, where there are
	// several; else "".
	Use string
}

// Opener returns the content of a configuration file, or of a file that it
// includes.
type Opener func(name string) ([]byte, error)

// Server is a kind of DHCP server for which a plan can be written.
type Server interface {
	// Name returns its name on the command line, such as "kea".
	Name() string
	// Modes returns the modes that the server supports, the default first.
	Modes() []Mode
	// Render returns the plan in the server's language, in one of the modes.
	// Equal plans have equal bytes.
	Render(p *Plan, m Mode) ([]File, error)
	// Parse reads a configuration, with the files that it includes, so that it
	// can answer requests. The findings are what is wrong for any machine and
	// what was not understood. Config is nil if the file cannot be evaluated,
	// for example because it is not a configuration of this server.
	Parse(open Opener, name string) (Config, []Finding)
	// Checker returns the command line of the server's own check of a file, or
	// nil if the server has none.
	Checker(file string) []string
	// Apply returns the steps, in order, that put a changed file into effect.
	// File is "" for a change in a file that the server's usual one includes.
	Apply(file string) []string
}

// Config answers requests as a server with that configuration does.
type Config interface {
	// Answer returns the reply to a client, or false for no answer. If the
	// reply depends on something that was not evaluated, Reply.Unsure names it,
	// and the other fields are not known.
	Answer(Request) (Reply, bool)
}

// Level is the effect of a finding on the machines.
type Level int

// The levels.
const (
	// Wrong keeps machines with firmware that counts from booting.
	Wrong Level = iota
	// Remark is worth a look. Machines with firmware that counts still boot.
	Remark
	// Unknown means that something was not evaluated, so the answers that
	// machines get are not known.
	Unknown
)

func (l Level) String() string {
	return [...]string{"wrong", "remark", "not known"}[l]
}

// Finding is a statement about a configuration.
type Finding struct {
	File string
	// Line is counted from 1. It is 0 if the finding concerns the whole file.
	Line  int
	Level Level
	Text  string
	// Remedy says what to do. It may be empty.
	Remedy string
}

// NotOf returns the finding for a file that is not a configuration of the server.
func NotOf(s Server, file, why string) Finding {
	return Finding{File: file, Text: "this is not a configuration of " + s.Name() + ": " + why, Remedy: "name a configuration of " + s.Name() + ", or the file's own server with --server"}
}

// String returns "file:line: text: remedy".
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
