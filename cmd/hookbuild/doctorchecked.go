package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"hookbuild/build/onboard"
	"hookbuild/doctor"
	"hookbuild/internal/words"
)

// checked collects of which commands doctor checked all needs.
type checked struct {
	mu sync.Mutex
	// whole lists the commands of which all needs are among the checks.
	whole []string
	// left says what of a command's needs is not among them.
	left map[string]string
	// own are the containers of the checkout that no registry has.
	own []string
}

// newChecked returns what holds for every build.
func newChecked() *checked {
	k := &checked{
		// They work with files of this machine, or need only a check that names them.
		whole: []string{"inspect", "verify", "extract-image", "sbom", "run", "matrix", "dhcp", "flavors", "cache", "doctor", "init", "schema", "help", "completion", "man", "version"},
		left:  map[string]string{},
	}
	k.leave([]string{"push", "pull"}, "the registry that you name to them")
	k.leave([]string{"serve", "netboot"}, "the ports on which they listen")
	k.leave([]string{"kernel", "kernel-config", "kernel-config-shell", "containers"}, "the images that the Docker Engine fetches itself")
	k.leave([]string{"kit"}, "what hookbuild.lock names")
	k.leave([]string{"images"}, "the bundle manifest")
	k.leave([]string{"qemu"}, "what it builds before it boots")
	return k
}

// leave records what of the commands' needs is not checked. What was recorded first
// stays.
func (k *checked) leave(commands []string, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range commands {
		if k.left[name] == "" {
			k.left[name] = why
		}
	}
}

// learn records what is checked for a build that was described.
func (k *checked) learn(o *doctor.Options, embeds *onboard.Embed) {
	if embeds == nil {
		k.leave([]string{"embed"}, "the images that you name to it")
	}
	if o.Offline {
		k.leave([]string{"all", "plan", "lock", "linuxkit", "embed"}, "what they fetch, because of --offline")
	}
	if o.Bundle {
		k.leave([]string{"all", "plan", "lock", "embed"}, "the images of the bundle, which the list of releases names")
	}
	if o.Compiles {
		k.leave([]string{"all", "linuxkit", "lock"}, "the images that the Docker Engine fetches itself")
	}
	k.whole = append(k.whole, "all", "plan", "lock", "linuxkit", "embed")
}

// built records that no registry has a container of the checkout, so that it is built.
func (k *checked) built(image string) {
	k.leave([]string{"all", "linuxkit", "lock"}, "building containers of the checkout, which no registry has")
	k.mu.Lock()
	defer k.mu.Unlock()
	k.own = append(k.own, image)
}

// needDocker makes a failure of the warning that Docker does not work, if containers
// must be built.
func (k *checked) needDocker(checks []doctor.Check) {
	for i, c := range checks {
		if c.Name == "Docker" && c.Status == doctor.Warn && len(k.own) > 0 {
			commands := []string{"all", "linuxkit", "lock"}
			c.Status, c.Commands = doctor.Fail, append(c.Commands, commands...)
			c.Breaks += fmt.Sprintf(" and, because no registry has %s, %s", slices.Min(k.own), strings.Join(commands, ", "))
			checks[i] = c
		}
	}
}

// commandsCheck is doctor's last finding: what the checks mean for each command.
type commandsCheck struct {
	Name   string        `json:"name"`
	Status doctor.Status `json:"status"`
	Found  string        `json:"found"`
	Remedy string        `json:"remedy,omitempty"`
	// Working lists the commands of which all needs were checked and are there,
	// Unavailable those that lack something, Unchecked the rest.
	Working     []string    `json:"working"`
	Unavailable []string    `json:"unavailable"`
	Unchecked   []unchecked `json:"unchecked"`
}

// unchecked are commands of which not all needs were checked.
type unchecked struct {
	Commands []string `json:"commands"`
	What     string   `json:"what"` // was not checked
}

// judge sorts the commands by what the checks found.
func (k *checked) judge(names []string, checks []doctor.Check) commandsCheck {
	r := commandsCheck{Name: "commands", Status: doctor.OK, Working: []string{}, Unavailable: []string{}, Unchecked: []unchecked{}}
	for _, name := range names {
		lacks := slices.ContainsFunc(checks, func(c doctor.Check) bool { return c.Status != doctor.OK && slices.Contains(c.Commands, name) })
		what := k.left[name]
		switch {
		case lacks:
			r.Unavailable = append(r.Unavailable, name)
		case what == "" && slices.Contains(k.whole, name):
			r.Working = append(r.Working, name)
		default:
			if what == "" {
				what = "what they need, because the build is not known"
			}
			at := slices.IndexFunc(r.Unchecked, func(u unchecked) bool { return u.What == what })
			if at < 0 {
				at = len(r.Unchecked)
				r.Unchecked = append(r.Unchecked, unchecked{What: what})
			}
			r.Unchecked[at].Commands = append(r.Unchecked[at].Commands, name)
		}
	}
	rest := len(names) - len(r.Working) - len(r.Unavailable)
	r.Found = fmt.Sprintf("%d work, %d lack something, and of %d not all needs were checked", len(r.Working), len(r.Unavailable), rest)
	if len(r.Unavailable) > 0 {
		r.Status, r.Remedy = doctor.Warn, "do what the checks say that name the commands"
	}
	return r
}

// print writes which commands work in spite of failures, and what was not checked.
func (r commandsCheck) print(w io.Writer, width int) error {
	const indent = "  "
	var lines []string
	if len(r.Unavailable) > 0 {
		lines = append(lines, "")
		lines = append(lines, words.Fold("These commands work in spite of it: "+strings.Join(r.Working, ", "), width, "")...)
	}
	if len(r.Unchecked) > 0 {
		lines = append(lines, "", "Not checked:")
	}
	for _, u := range r.Unchecked {
		lines = append(lines, words.Fold(indent+strings.Join(u.Commands, ", ")+": "+u.What, width, indent+indent)...)
	}
	_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
	return err
}

// printChecksJSON writes the checks and the commands as one JSON list.
func printChecksJSON(w io.Writer, checks []doctor.Check, r commandsCheck) error {
	var all []any
	for _, c := range checks {
		all = append(all, c)
	}
	return printJSON(w, append(all, r))
}
