package main

import (
	"encoding/json"
	"fmt"
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

// print writes the findings for people. The table's Flush tells of all errors.
func (f *findings) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	f.printKernel(table)
	f.printInitramfs(table)
	for _, option := range slices.Sorted(maps.Keys(f.Options)) {
		fmt.Fprintf(table, "%s\t%s\n", option, f.Options[option])
	}
	for _, name := range f.Modules {
		fmt.Fprintln(table, name)
	}
	for _, d := range f.Devices {
		f.printDevice(table, d)
	}
	return table.Flush()
}

func (f *findings) printKernel(w io.Writer) {
	k := f.Kernel
	if k == nil {
		return
	}
	fmt.Fprintf(w, "kernel\tLinux %s for %s, %s (%s), %s\n", k.Release, k.Arch, k.Format, k.Compression, bytesText(k.Size))
	if k.Modules+k.DTBs > 0 {
		fmt.Fprintf(w, "modules\t%d\n", k.Modules)
		fmt.Fprintf(w, "device trees\t%d\n", k.DTBs)
	}
	if len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return // the question was another
	}
	fmt.Fprintf(w, "options\tby %s\n", k.Config)
	for _, feature := range k.Features {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", feature.Option, feature.State, feature.Text)
	}
}

func (f *findings) printInitramfs(w io.Writer) {
	r := f.Initramfs
	if r == nil || len(f.Options)+len(f.Devices)+len(f.Modules) > 0 {
		return
	}
	fmt.Fprintf(w, "initramfs\t%d files, %s, %s unpacked\n", r.Files, bytesText(r.Memory.Compressed), bytesText(r.Memory.Unpacked))
	fmt.Fprintf(w, "least RAM\t%s, as LinuxKit's init copies what is unpacked into a tmpfs of half the RAM\n", bytesText(r.Memory.Least))
	for i, s := range r.Segments {
		fmt.Fprintf(w, "segment %d\t%s at %d, %s, %s unpacked, %d entries\n", i+1, s.Compression, s.Offset, bytesText(s.Size), bytesText(s.Unpacked), s.Entries)
	}
	for _, d := range r.Directories {
		fmt.Fprintf(w, "  %s\t%s\n", d.Path, bytesText(d.Size))
	}
	for _, image := range r.Images {
		fmt.Fprintf(w, "image\t%s\t%s\n", strings.Join(image.Names, " "), bytesText(image.Size))
	}
	for _, lost := range r.Lost {
		fmt.Fprintf(w, "lost\t%s: %s\n", lost.Path, lost.Reason)
	}
}

func (f *findings) printDevice(w io.Writer, d deviceReport) {
	if len(d.Drivers) == 0 {
		fmt.Fprintf(w, "%s\tno driver is known; it may need none\n", d.Device)
		return
	}
	for i, driver := range d.Drivers {
		name := d.Device
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "%s\t%s\n", name, driver)
	}
}
