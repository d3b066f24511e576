package lock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The names of what a build has one of, for [Change.Name] and for the words
// after --update.
const (
	NameBundle   = "bundle"
	NameKernel   = "kernel"
	NameBuilder  = "builder"
	NameWorker   = "worker"
	nameTemplate = "template"
	nameOptions  = "options"
)

// Change is a difference between two builds of a flavor.
type Change struct {
	Flavor string
	// Name is the input's: "kernel", "cexec". Several may have the same.
	Name string
	// What is the whole name: a reference, path or option.
	What string
	// Was and Is are what the builds have; empty where one has nothing.
	Was, Is string
}

// String returns the change in one line.
func (c Change) String() string {
	subject := c.Name
	if c.What != "" && c.What != c.Name {
		subject += " " + c.What
	}
	switch {
	case c.Was == "":
		return fmt.Sprintf("%s: new: %s", subject, c.Is)
	case c.Is == "":
		return fmt.Sprintf("%s: gone: %s", subject, c.Was)
	}
	return fmt.Sprintf("%s: %s -> %s", subject, c.Was, c.Is)
}

// item is one input of a build in a form that can be compared.
type item struct{ name, what, is string }

func (i item) key() string { return i.name + "\x00" + i.what }

// Diff lists what differs between two builds of a flavor.
func Diff(was, is Build) []Change {
	old, now := was.items(), is.items()
	var all []Change
	for _, o := range old {
		c := Change{Flavor: is.Flavor, Name: o.name, What: o.what, Was: o.is}
		at := slices.IndexFunc(now, func(n item) bool { return n.key() == o.key() })
		if at >= 0 {
			c.Is = now[at].is
		}
		if c.Is != c.Was {
			all = append(all, c)
		}
	}
	for _, n := range now {
		if !slices.ContainsFunc(old, func(o item) bool { return o.key() == n.key() }) {
			all = append(all, Change{Flavor: is.Flavor, Name: n.name, What: n.what, Is: n.is})
		}
	}
	return pair(all)
}

// pair makes one change of an image that went and one of the same short name
// that came: of another tag.
func pair(all []Change) []Change {
	var out []Change
	for _, c := range all {
		at := slices.IndexFunc(out, func(o Change) bool { return o.Name == c.Name && o.Is == "" && c.Was == "" })
		if c.Was != "" || at < 0 {
			out = append(out, c)
			continue
		}
		gone := &out[at]
		gone.Was, gone.Is, gone.What = gone.What+" "+gone.Was, c.What+" "+c.Is, ""
	}
	return out
}

// Names lists what --update can name in a build.
func (b Build) Names() []string {
	var all []string
	for _, i := range b.items() {
		if i.name != nameOptions {
			all = append(all, i.name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (b Build) items() []item {
	all := []item{{nameOptions, "arch", b.Arch}}
	for name, values := range b.Options {
		all = append(all, item{nameOptions, "--" + name, values.String()})
	}
	for name, value := range b.Variables {
		all = append(all, item{nameOptions, name, cmp.Or(value, "(empty)")})
	}
	slices.SortFunc(all, func(x, y item) int { return cmp.Compare(x.what, y.what) })
	if b.Bundle != nil {
		all = append(all, item{NameBundle, NameBundle, b.Bundle.describe()})
	}
	if b.Worker != nil {
		all = append(all, item{NameWorker, b.Worker.Name, b.Worker.SHA256})
	}
	all = append(all, b.Kernel.items()...)
	all = append(all, item{nameTemplate, b.Template.Name, b.Template.SHA256})
	for _, f := range b.Files {
		all = append(all, item{shortName(f.Name), f.Name, f.SHA256})
	}
	for _, image := range slices.Concat(b.Images, b.Embedded) {
		all = append(all, item{image.ShortName(), image.Reference, image.describe()})
	}
	return all
}

// describe returns number, release and digest.
func (b Bundle) describe() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", b.Number, b.Release, b.SHA256))
}

// describe returns what identifies the image.
func (i Image) describe() string {
	if i.Digest == "" {
		return "id " + i.ID
	}
	text := i.Digest
	if i.Manifest != "" {
		text += " (" + i.Manifest + ")"
	}
	if len(i.As) > 0 {
		text += " as " + strings.Join(i.As, ", ")
	}
	return text
}

func (k Kernel) items() []item {
	what := []string{k.From}
	if k.Image != nil {
		what = append(what, k.Image.Reference, k.Image.describe())
	}
	if k.Release != "" {
		what = append(what, "Linux "+k.Release)
	}
	if k.Source != nil {
		what = append(what, k.Source.SHA256)
	}
	all := []item{{NameKernel, NameKernel, strings.Join(what, " ")}}
	if k.Config != nil {
		all = append(all, item{NameKernel, k.Config.Name, k.Config.SHA256})
	}
	for _, f := range k.Files {
		all = append(all, item{NameKernel, f.Name, f.SHA256})
	}
	if b := k.Builder; b != nil {
		all = append(all, item{NameBuilder, NameBuilder, b.Name + " " + cmp.Or(b.Digest, "id "+b.ID)})
	}
	return all
}
