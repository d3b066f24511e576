// Package worker tells the two programs apart that run the actions of a
// machine: tink-worker, whose server is that of EKS Anywhere up to v0.24, and
// tink-agent, its successor. Each calls its server by other methods, so one
// with the other's server boots, connects and never gets work.
//
// An image is judged by what is in it: the methods that its program calls, the
// Go module that the program was built from, the program's name, the image's
// labels, and last the bundle or repository it came from. A program that none of these
// tells of is [Unknown].
package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/bundles"
)

// Kind is the program that an image holds.
type Kind int

// The programs.
const (
	Unknown    Kind = iota
	TinkWorker      // up to v0.24
	TinkAgent       // since v0.25
)

// String returns the program's name.
func (k Kind) String() string {
	switch k {
	case TinkWorker:
		return "tink-worker"
	case TinkAgent:
		return "tink-agent"
	}
	return "unknown"
}

// Finding is what was found out about an image, and how.
type Finding struct {
	Kind Kind
	// Because is the evidence in words, such as "its program /tink-agent calls
	// GetAction"; for an unknown program it is what was looked at.
	Because string
}

// String returns the finding in words.
func (f Finding) String() string {
	if f.Kind == Unknown {
		return "not known: " + f.Because
	}
	return f.Kind.String() + ": " + f.Because
}

// Image is what is looked at.
type Image struct {
	Config *v1.ConfigFile
	// Open opens a file of the image by its path; an error that wraps
	// [fs.ErrNotExist] says that it does not exist. With a nil Open, Examine looks at the
	// configuration and the names alone.
	Open func(path string) (io.ReadCloser, error)
	// Names are references that the image had at its source.
	Names []string
	// Bundle is the EKS Anywhere bundle whose worker it is, in words, and OfBundle
	// the program that the bundle's release has; both are zero where the image is not
	// from a bundle or its HookOS.
	Bundle   string
	OfBundle Kind
}

// Examine finds out which program an image holds. An error says that its
// content could not be read.
func Examine(i Image) (Finding, error) {
	program := programOf(i.Config)
	looked := "its labels, its bundle and its source names"
	if program != "" {
		looked = "its program " + program + ", " + looked
	}
	if i.Open != nil && program != "" {
		found, err := examineProgram(i.Open, program)
		if err != nil || found.Kind != Unknown {
			return found, err
		}
	}
	for _, look := range []func(Image) Finding{byProgramName, byLabels, byBundle, byNames} {
		if found := look(i); found.Kind != Unknown {
			return found, nil
		}
	}
	return Finding{Because: looked + " do not tell which program it is"}, nil
}

// programOf returns the path of the program that the image starts.
func programOf(c *v1.ConfigFile) string {
	if c == nil {
		return ""
	}
	for _, args := range [][]string{c.Config.Entrypoint, c.Config.Cmd} {
		if len(args) > 0 {
			return args[0]
		}
	}
	return ""
}

// trace is a text in a program and what it says of it.
type trace struct{ text, says string }

// traces lists what tells the programs apart, the most reliable first. A method's
// name is part of the path that gRPC calls; the module is in Go's build information.
// Neither is lost when symbols are stripped; both are when the program is compressed.
func traces() []struct{ worker, agent trace } {
	return []struct{ worker, agent trace }{
		{trace{"WorkflowService/GetWorkflowContexts", "calls GetWorkflowContexts"}, trace{"WorkflowService/GetAction", "calls GetAction"}},
		{
			trace{"path\tgithub.com/tinkerbell/tink/", "was built from github.com/tinkerbell/tink"},
			trace{"path\tgithub.com/tinkerbell/tinkerbell/", "was built from github.com/tinkerbell/tinkerbell"},
		},
	}
}

// moduleVersion finds the version in Go's build information.
var moduleVersion = regexp.MustCompile(`mod\tgithub\.com/tinkerbell/tink(?:erbell)?\t(v[0-9A-Za-z.+-]{1,100})`)

func examineProgram(open func(string) (io.ReadCloser, error), program string) (Finding, error) {
	r, err := open(program)
	if errors.Is(err, fs.ErrNotExist) {
		return Finding{}, nil
	}
	if err != nil {
		return Finding{}, fmt.Errorf("reading the program %q of the worker: %w", program, err)
	}
	seen, version, err := scan(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return Finding{}, fmt.Errorf("reading the program %q of the worker: %w", program, err)
	}
	for _, t := range traces() {
		found := Finding{TinkWorker, t.worker.says}
		switch {
		case seen[t.worker.text] == seen[t.agent.text]: // neither, or both
			continue
		case seen[t.agent.text]:
			found = Finding{TinkAgent, t.agent.says}
		}
		found.Because = fmt.Sprintf("its program %s %s", program, found.Because)
		if version != "" {
			found.Because += ", module version " + version
		}
		return found, nil
	}
	return Finding{}, nil
}

// scan looks for traces and the module's version in a program, which may be larger
// than memory.
func scan(r io.Reader) (seen map[string]bool, version string, err error) {
	const window = 1 << 20
	const overlap = 512 // longer than anything that is looked for
	buffer := make([]byte, 0, window+overlap)
	seen = map[string]bool{}
	for {
		n, err := io.ReadFull(r, buffer[len(buffer):len(buffer)+window])
		buffer = buffer[:len(buffer)+n]
		for _, t := range traces() {
			for _, text := range []string{t.worker.text, t.agent.text} {
				seen[text] = seen[text] || bytes.Contains(buffer, []byte(text))
			}
		}
		if m := moduleVersion.FindSubmatch(buffer); m != nil && version == "" {
			version = string(m[1])
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return seen, version, nil
		}
		if err != nil {
			return seen, version, err
		}
		buffer = append(buffer[:0], buffer[len(buffer)-overlap:]...)
	}
}

func byProgramName(i Image) Finding {
	program := programOf(i.Config)
	if k := kindNamed(path.Base(program)); k != Unknown {
		return Finding{k, "its program is " + program}
	}
	return Finding{}
}

func byLabels(i Image) Finding {
	if i.Config == nil {
		return Finding{}
	}
	for _, label := range []string{"org.opencontainers.image.title", "org.opencontainers.image.source", "org.label-schema.name"} {
		value := i.Config.Config.Labels[label]
		k := kindNamed(path.Base(value))
		switch strings.TrimSuffix(value, ".git") {
		case "https://github.com/tinkerbell/tink":
			k = TinkWorker
		case "https://github.com/tinkerbell/tinkerbell":
			k = TinkAgent
		}
		if k != Unknown {
			return Finding{k, fmt.Sprintf("its label %s is %q", label, value)}
		}
	}
	return Finding{}
}

func byBundle(i Image) Finding {
	if i.Bundle == "" || i.OfBundle == Unknown {
		return Finding{}
	}
	return Finding{i.OfBundle, "it is the worker of " + i.Bundle}
}

func byNames(i Image) Finding {
	for _, name := range i.Names {
		if strings.HasPrefix(name, bundles.EmbedPrefix) {
			continue // both programs are called tink-worker there
		}
		repository, _, _ := strings.Cut(name, "@")
		base, _, _ := strings.Cut(path.Base(repository), ":")
		if k := kindNamed(base); k != Unknown {
			return Finding{k, "it comes from " + name}
		}
	}
	return Finding{}
}

func kindNamed(name string) Kind {
	switch name {
	case TinkWorker.String():
		return TinkWorker
	case TinkAgent.String():
		return TinkAgent
	}
	return Unknown
}
