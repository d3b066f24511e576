package driver

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Form is how a source is built.
type Form int

// The forms. A DKMS source has a file dkms.conf that says what to run. Kbuild
// sources are built by the kernel's own makefiles. Make stands for sources whose
// Makefile is a program of its own, such as those of network cards' vendors.
const (
	DKMS Form = iota
	Kbuild
	Make
)

func (f Form) String() string { return [...]string{"dkms", "kbuild", "make"}[f] }

// makefiles are the names by which make and the kernel look, in order.
func makefiles() []string { return []string{"Kbuild", "GNUmakefile", "makefile", "Makefile"} }

// detect finds out how the source is built and what it is called.
func (d *Driver) detect(s Spec) error {
	dirs := []string{"", "src"}
	if s.Dir != "" {
		dirs = []string{path.Clean(s.Dir)}
	}
	found := ""
	for _, dir := range dirs {
		if found = d.buildFile(dir); found != "" {
			d.Dir = strings.TrimPrefix(dir, ".")
			break
		}
	}
	if found == "" {
		return d.noBuildFile(dirs)
	}
	c, err := d.content(path.Join(d.Dir, found))
	if err != nil {
		return err
	}
	d.Name = nameOf(s.Source)
	switch text := string(c.Text); {
	case found == "dkms.conf":
		d.Form = DKMS
		if m := regexp.MustCompile(`(?m)^\s*PACKAGE_NAME=["']?([^"'\s$]+)`).FindStringSubmatch(text); m != nil && validName(m[1]) {
			d.Name = m[1]
		}
	case found == "Kbuild" || !hasRules(text):
		d.Form = Kbuild
		d.addTarget("modules")
	default:
		d.Form = Make
		if targets(text)["modules"] {
			d.addTarget("modules")
		}
	}
	if s.Name != "" {
		d.Name = s.Name
	}
	return nil
}

// addTarget adds a target to make's arguments unless the user gave one.
func (d *Driver) addTarget(name string) {
	if !slices.ContainsFunc(d.Make, isTarget) {
		d.Make = append(slices.Clone(d.Make), name)
	}
}

func isTarget(argument string) bool { return !strings.Contains(argument, "=") }

// buildFile returns the name of the file that says how the sources in dir are
// built, or "". A Makefile goes before a Kbuild file next to it, because it
// prepares what the Kbuild file needs.
func (d *Driver) buildFile(dir string) string {
	found := ""
	for _, name := range append(makefiles(), "dkms.conf") {
		if e, ok := d.Tree.Lookup(path.Join(dir, name)); ok && e.Type != initramfs.Dir {
			found = name
		}
	}
	return found
}

func (d *Driver) noBuildFile(looked []string) error {
	if dir := looked[0]; dir != "" {
		if e, ok := d.Tree.Lookup(dir); !ok || e.Type != initramfs.Dir {
			return fault.Invalidf("it has no directory %q", dir)
		}
	}
	where := "at its top and in src/"
	if looked[0] != "" {
		where = "in " + looked[0] + "/"
	}
	var others []string
	for e := range d.Tree.All() {
		dir := path.Dir(e.Path)
		if (slices.Contains(makefiles(), path.Base(e.Path)) || path.Base(e.Path) == "dkms.conf") && !slices.Contains(others, dir) {
			others = append(others, dir)
		}
	}
	if len(others) == 0 {
		return fault.Invalidf("it has no dkms.conf, Makefile or Kbuild %s or in any other directory, so it is not the source of a module", where)
	}
	return fault.Invalidf("it has no dkms.conf, Makefile or Kbuild %s; add dir=%s to build that directory (%s)", where, others[0], strings.Join(others[:min(len(others), 5)], ", "))
}

// rule matches the first line of a makefile's rule.
var rule = regexp.MustCompile(`(?m)^([A-Za-z0-9_.-]+)[^\n:=#]*::?(?:[^=:\n]|$)`)

// targets returns the targets of a makefile's rules.
func targets(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range rule.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
	}
	return all
}

// hasRules reports whether a Makefile can be run by itself. One that only lists
// objects is meant for the kernel's makefiles, even with rules for its objects.
func hasRules(text string) bool {
	for target := range targets(text) {
		if !strings.ContainsAny(target, ".$") {
			return true
		}
	}
	return false
}
