package kconfig

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is an option whose value differs between two configurations.
type Change struct {
	Option string `json:"option"`
	// Old and New are as [Config.Get] returns them; "" where the option is absent.
	Old string `json:"old"`
	New string `json:"new"`
}

// String is "CONFIG_ENIC: not set -> m".
func (c Change) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Option, inWords(c.Old), inWords(c.New))
}

// inWords writes a value for people.
func inWords(value string) string {
	switch value {
	case No:
		return "not set"
	case "":
		return "default"
	}
	return value
}

// Diff lists what differs between two .config files, sorted by option. There
// an absent option and one that is not set are the same.
func Diff(before, after *Config) []Change {
	return diff(before, after, func(c *Config, option string) string {
		value, _ := c.Get(option)
		return value
	})
}

// DiffDefconfigs lists what differs between two defconfigs or fragments, where
// an absent option has the kernel's default, whatever that is.
func DiffDefconfigs(before, after *Config) []Change {
	return diff(before, after, func(c *Config, option string) string { return c.values[option] })
}

func diff(before, after *Config, value func(*Config, string) string) []Change {
	options := maps.Clone(before.values)
	maps.Copy(options, after.values)
	var changes []Change
	for _, option := range slices.Sorted(maps.Keys(options)) {
		if a, b := value(before, option), value(after, option); a != b {
			changes = append(changes, Change{option, a, b})
		}
	}
	return changes
}

// Request is an option that a user asked for.
type Request struct {
	Option, Value string
	// Origin is who asked: "--set", "--fragment cisco.config, line 3".
	Origin string
}

// String is "CONFIG_ENIC=m (--set)".
func (r Request) String() string { return fmt.Sprintf("%s=%s (%s)", r.Option, r.Value, r.Origin) }

// ParseSet reads the argument of --set: "CONFIG_X=y", "X=m", "X=\"text\"". A
// text may come without its quotes, which shells take away.
func ParseSet(arg string) (Request, error) {
	option, value, found := strings.Cut(arg, "=")
	if !found {
		return Request{}, invalidUsage("reading --set %q: it should have the form CONFIG_NAME=VALUE, with y, m, n, a number or a text as the value", arg)
	}
	if checkValue(value) != nil && !strings.Contains(value, `"`) {
		value = `"` + value + `"`
	}
	c := New()
	if err := c.Set(strings.TrimSpace(option), value); err != nil {
		return Request{}, err
	}
	return Request{Name(strings.TrimSpace(option)), value, "--set"}, nil
}

// Requests lists a fragment's options as requests, in the order of its lines.
func (c *Config) Requests(origin string) []Request {
	var all []Request
	for option, value := range c.values {
		all = append(all, Request{option, value, fmt.Sprintf("%s, line %d", origin, c.lines[option])})
	}
	slices.SortFunc(all, func(a, b Request) int {
		if n := c.lines[a.Option] - c.lines[b.Option]; n != 0 {
			return n
		}
		return strings.Compare(a.Option, b.Option)
	})
	return all
}

// Merge adds requests to a defconfig. The kernel's own reader takes the last
// line about an option, so that the requests win over the file and later ones
// over earlier; the file's lines stay as they are.
func Merge(defconfig []byte, requests []Request) []byte {
	merged := bytes.NewBuffer(bytes.TrimRight(bytes.Clone(defconfig), "\n"))
	merged.WriteByte('\n')
	last := map[string]int{}
	for i, r := range requests {
		last[r.Option] = i
	}
	for i, r := range requests {
		if last[r.Option] == i {
			merged.WriteString(line(r.Option, r.Value))
		}
	}
	return merged.Bytes()
}

// line writes one option as a configuration file has it.
func line(option, value string) string {
	if value == No {
		return "# " + option + " is not set\n"
	}
	return option + "=" + value + "\n"
}
