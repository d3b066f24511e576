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
	"strconv"
	"strings"
)

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// print writes the findings for people, for a terminal of width columns or, if that is
// 0, for none.
func (f *findings) print(w io.Writer, width int) error {
	table := &words.Table{}
	f.printKernel(table)
	f.printInitramfs(table)
	for _, option := range slices.Sorted(maps.Keys(f.Options)) {
		table.Row(option, f.Options[option])
	}
	for _, name := range f.Modules {
		table.Row(name)
	}
	_, err := io.WriteString(w, table.Text(width)+f.devicesText(proseWidth(width)))
	return err
}

// devicesText returns the drivers of each device: on one line if they fit in columns,
// else below the device.
func (f *findings) devicesText(columns int) string {
	var text strings.Builder
	total := 0
	for _, d := range f.Devices {
		total += d.Count
		text.WriteString(d.text(columns))
	}
	if total > 1 && len(f.Devices) > 0 {
		have, lack, unseen, none := f.deviceCounts()
		parts := []string{fmt.Sprintf("%d of %d devices have a driver here", have, total)}
		for _, p := range []struct {
			n    int
			text string
		}{{lack, "lack one"}, {unseen, "depend on what was not given"}, {none, "need none or are not known"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
			}
		}
		text.WriteString(folded(strings.Join(parts, ", ")+".", columns, "") + "\n")
	}
	if len(f.Devices) > 0 {
		text.WriteString(folded("What the kernel lacks is looked up in "+f.table+".", columns, "") + "\n")
	}
	if f.Add != nil && f.Add.command() != "" {
		about := "To add what storage and network devices lack"
		if len(f.Add.Firmware) > 0 {
			about += ", with " + firmwareDir + " or another directory or image that has the firmware"
		}
		about += ", build again with this and the other options of your build"
		text.WriteString(folded(about+":", columns, "") + "\n" + f.Add.command() + "\n") // one line, to paste
	}
	return text.String()
}

// folded is [words.Fold] with the lines in one text.
func folded(text string, width int, indent string) string {
	return strings.Join(words.Fold(text, width, indent), "\n")
}

func (d deviceReport) text(columns int) string {
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
	text := folded(head, columns, "") + "\n"
	for _, a := range answers {
		text += folded("    "+a, columns, "      ") + "\n"
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

func (f *findings) printKernel(t *words.Table) {
	k := f.Kernel
	if k == nil {
		return
	}
	t.Row("kernel", fmt.Sprintf("Linux %s for %s, %s (%s), %s", k.Release, k.Arch, k.Format, k.Compression, words.Bytes(k.Size)))
	if k.Modules+k.DTBs > 0 {
		t.Row("modules", strconv.Itoa(k.Modules))
		t.Row("device trees", strconv.Itoa(k.DTBs))
	}
	if len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return // another question was asked
	}
	t.Row("options", "from "+k.Config)
	for _, feature := range k.Features {
		t.Row("  "+feature.Option, fmt.Sprint(feature.State), feature.Text)
	}
}

// printSite adds what a site put into a HookOS to a table. Of names the build if several may be meant.
func printSite(t *words.Table, of string, overlays []artifact.Input, settings []profile.Setting) {
	for _, o := range overlays {
		t.Row("overlay"+of, o.Name, o.Digest)
	}
	for _, s := range settings {
		t.Row("site"+of, s.Name, s.Value)
	}
}

func (f *findings) printInitramfs(t *words.Table) {
	r := f.Initramfs
	if r == nil || len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return
	}
	t.Row("initramfs", fmt.Sprintf("%s in %s, %s, %s unpacked, %s in RAM", words.Count(r.files, "file"), words.Count(r.Files, "entry"), words.Bytes(r.Memory.Compressed), words.Bytes(r.unpacked), words.Bytes(r.Memory.Unpacked)))
	t.Row("RAM to boot", "about "+words.Bytes(r.Memory.Least)+", because LinuxKit's init copies the unpacked files into a tmpfs of half the RAM")
	for i, s := range r.Segments {
		t.Row(fmt.Sprintf("segment %d", i+1), fmt.Sprintf("%s at %d, %s, %s as cpio, %s", s.Compression, s.Offset, words.Bytes(s.Size), words.Bytes(s.Unpacked), words.Count(s.Entries, "entry")))
	}
	for _, d := range r.Directories {
		t.Row("  "+d.Path, words.Bytes(d.Size))
	}
	for _, image := range r.Images {
		t.Row("image", strings.Join(image.Names, " "), words.Bytes(image.Size))
	}
	printSite(t, "", r.Overlays, r.Site)
	for _, lost := range r.Lost {
		t.Row("lost", lost.Path+": "+lost.Reason)
	}
}
