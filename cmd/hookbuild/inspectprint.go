package main

import (
	"encoding/json"
	"fmt"
	"hookbuild/build/artifact"
	"hookbuild/internal/words"
	"hookbuild/site/profile"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// print writes the findings for people. The table's Flush returns all errors.
func (f *findings) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	f.printKernel(table)
	f.printInitramfs(table)
	for _, option := range slices.Sorted(maps.Keys(f.Options)) {
		fmt.Fprintf(table, "%s\t%s\n", option, f.Options[option])
	}
	for _, name := range f.Modules {
		printRow(table, name)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, f.devicesText())
	return err
}

// devicesText returns the drivers of each device, in at most 80 columns: on one
// line if they fit, else below the device.
func (f *findings) devicesText() string {
	var text strings.Builder
	total := 0
	for _, d := range f.Devices {
		total += d.Count
		text.WriteString(d.text())
	}
	if total > 1 && len(f.Devices) > 0 {
		have, lack, unseen, none := f.deviceCounts()
		parts := []string{fmt.Sprintf("%d of %d devices have a driver here", have, total)}
		for _, p := range []struct {
			n    int
			text string
		}{{lack, "lack one"}, {unseen, "depend on files that were not given"}, {none, "need none or are not known"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
			}
		}
		text.WriteString(wrap(strings.Join(parts, ", ")+".", "", columns) + "\n")
	}
	if len(f.Devices) > 0 {
		text.WriteString(wrap("What the kernel lacks is looked up in "+f.table+".", "", columns) + "\n")
	}
	return text.String()
}

// columns is the width that every terminal has.
const columns = 80

func (d deviceReport) text() string {
	answers := d.answers()
	head := d.id
	if d.Count > 1 {
		head = fmt.Sprintf("%d x %s", d.Count, head)
	}
	if line := head + "  " + answers[0]; d.name == "" && len(answers) == 1 && len(line) <= columns {
		return line + "\n"
	}
	if d.name != "" {
		head += " " + words.Line(d.name)
	}
	text := wrap(head, "", columns) + "\n"
	for _, a := range answers {
		text += hang(a)
	}
	return text
}

// answers returns what is known of a device, at least one line.
func (d deviceReport) answers() []string {
	var list []string
	if d.OneOf {
		list = append(list, "one of these, depending on its programming interface (lspci -vnn shows it):")
	}
	for _, driver := range d.Drivers {
		list = append(list, driver.String())
	}
	if len(d.Drivers) == 0 {
		list = append(list, d.Note)
	}
	return list
}

// hang indents a text, and more so all lines but the first.
func hang(text string) string {
	first, rest, more := strings.Cut(wrap(text, "    ", columns-2), "\n")
	if !more {
		return first + "\n"
	}
	return first + "\n  " + strings.ReplaceAll(rest, "\n", "\n  ") + "\n"
}

func (f *findings) printKernel(w io.Writer) {
	k := f.Kernel
	if k == nil {
		return
	}
	fmt.Fprintf(w, "kernel\tLinux %s for %s, %s (%s), %s\n", k.Release, k.Arch, k.Format, k.Compression, words.Bytes(k.Size))
	if k.Modules+k.DTBs > 0 {
		fmt.Fprintf(w, "modules\t%d\n", k.Modules)
		fmt.Fprintf(w, "device trees\t%d\n", k.DTBs)
	}
	if len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return // another question was asked
	}
	fmt.Fprintf(w, "options\tfrom %s\n", k.Config)
	for _, feature := range k.Features {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", feature.Option, feature.State, feature.Text)
	}
}

// printSite prints what a site put into a HookOS, to a table whose Flush returns all
// errors. Of names the build if several may be meant.
func printSite(w io.Writer, of string, overlays []artifact.Input, settings []profile.Setting) {
	for _, o := range overlays {
		printRow(w, "overlay"+of, o.Name, o.Digest)
	}
	for _, s := range settings {
		printRow(w, "site"+of, s.Name, s.Value)
	}
}

func (f *findings) printInitramfs(w io.Writer) {
	r := f.Initramfs
	if r == nil || len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return
	}
	fmt.Fprintf(w, "initramfs\t%d files, %s, %s unpacked\n", r.Files, words.Bytes(r.Memory.Compressed), words.Bytes(r.Memory.Unpacked))
	fmt.Fprintf(w, "least RAM\t%s, because LinuxKit's init copies the unpacked files into a tmpfs of half the RAM\n", words.Bytes(r.Memory.Least))
	for i, s := range r.Segments {
		fmt.Fprintf(w, "segment %d\t%s at %d, %s, %s unpacked, %d entries\n", i+1, s.Compression, s.Offset, words.Bytes(s.Size), words.Bytes(s.Unpacked), s.Entries)
	}
	for _, d := range r.Directories {
		printRow(w, "  "+d.Path, words.Bytes(d.Size))
	}
	for _, image := range r.Images {
		printRow(w, "image", strings.Join(image.Names, " "), words.Bytes(image.Size))
	}
	printSite(w, "", r.Overlays, r.Site)
	for _, lost := range r.Lost {
		printRow(w, "lost", lost.Path+": "+lost.Reason)
	}
}
