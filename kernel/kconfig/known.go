package kconfig

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"hookbuild/internal/fault"
)

// options.zst lists the options of some kernels, one name per line, sorted.
// Package devices/gen writes it together with the table of drivers.
//
//go:embed options.zst
var packedOptions []byte

// knownOptions returns the sorted names, without "CONFIG_", of the options in
// the kernels from 5.10 to the newest when hookbuild was released.
func knownOptions() ([]string, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("reading the list of options: %w", err)
	}
	defer r.Close()
	text, err := r.DecodeAll(packedOptions, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the list of options: %w", err)
	}
	return strings.Fields(string(text)), nil
}

// CheckName returns an error that suggests similar options if neither the
// configuration, which may be nil, nor any kernel known to hookbuild has the
// option.
func CheckName(option string, c *Config) error {
	why, err := Doubt(option, c)
	if err == nil && why != "" {
		err = fault.Usagef("requesting the option %s: %s", Name(option), why)
	}
	return err
}

// Doubt returns why an option may not exist, with similar options, or "" if the
// configuration, which may be nil, or a kernel known to hookbuild has it.
func Doubt(option string, c *Config) (why string, err error) {
	if c != nil {
		if _, mentioned := c.Get(option); mentioned {
			return "", nil
		}
	}
	known, err := knownOptions()
	if err != nil {
		return "", err
	}
	name := strings.TrimPrefix(option, Prefix)
	if _, found := slices.BinarySearch(known, name); found {
		return "", nil
	}
	if upper := strings.TrimPrefix(strings.ToUpper(name), Prefix); upper != name {
		if _, found := slices.BinarySearch(known, upper); found {
			return fmt.Sprintf("it does not exist; did you mean %s%s?", Prefix, upper), nil
		}
	}
	similar := ""
	if names := nearest(known, strings.ToUpper(name)); len(names) > 0 {
		similar = "; did you mean " + strings.Join(names, ", ") + "?"
	}
	return "neither this kernel's configuration nor any Linux since 5.10 has it" + similar, nil
}

// nearest returns up to three options with the fewest changed letters. Those that
// differ only by two neighbouring letters in the other order come first.
func nearest(known []string, name string) []string {
	var swapped []string
	for i := range len(name) - 1 {
		other := name[:i] + name[i+1:i+2] + name[i:i+1] + name[i+2:]
		if _, found := slices.BinarySearch(known, other); found {
			swapped = append(swapped, Prefix+other)
		}
	}
	limit := len(name)/4 + 1
	byDistance := make([][]string, limit+1)
	for _, k := range known {
		if d := distance(k, name, limit); d <= limit {
			byDistance[d] = append(byDistance[d], Prefix+k)
		}
	}
	others := slices.DeleteFunc(slices.Concat(byDistance...), func(k string) bool { return slices.Contains(swapped, k) })
	all := slices.Concat(swapped, others)
	return all[:min(len(all), 3)]
}
