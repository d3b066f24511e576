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

// String returns a line such as "CONFIG_ENIC: not set -> m".
func (c Change) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Option, inWords(c.Old), inWords(c.New))
}

// inWords returns a value as messages show it.
func inWords(value string) string {
	switch value {
	case No:
		return "not set"
	case "":
		return "default"
	}
	return value
}

// Diff returns the differences between two .config files, sorted by option. An
// absent option equals one that is not set.
func Diff(before, after *Config) []Change {
	return diff(before, after, func(c *Config, option string) string {
		value, _ := c.Get(option)
		return value
	})
}

// DiffDefconfigs returns the differences between two defconfigs or fragments.
// In these, an absent option has the kernel's default, whatever that is.
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

// Request is an option that a user requested.
type Request struct {
	Option, Value string
	// Origin is the source of the request: "--set", "--fragment cisco.config,
	// line 3".
	Origin string
}

// String returns a text such as "CONFIG_ENIC=m (--set)".
func (r Request) String() string { return fmt.Sprintf("%s=%s (%s)", r.Option, r.Value, r.Origin) }

// ParseSet parses the argument of --set: "CONFIG_X=y", "X=m", "X=\"text\"". The
// quotes of a string may be missing, because shells remove them.
func ParseSet(arg string) (Request, error) {
	option, value, found := strings.Cut(arg, "=")
	if !found {
		return Request{}, invalidUsage("reading --set %q: use the form CONFIG_NAME=VALUE, where the value is y, m, n, a number or a string", arg)
	}
	if meant := meantState(value); meant != "" {
		return Request{}, invalidUsage("reading --set %q: the value is neither y, m, n nor a number; write %s=%s, or quote a text: '%[2]s=\"%[4]s\"'", arg, Name(strings.TrimSpace(option)), meant, value)
	}
	if checkValue(value) != nil && !strings.Contains(value, `"`) {
		value = `"` + value + `"`
	}
	c := newConfig()
	if err := c.Set(strings.TrimSpace(option), value); err != nil {
		return Request{}, err
	}
	return Request{Name(strings.TrimSpace(option)), value, "--set"}, nil
}

// meantState returns y, m or n for a word that means it in another spelling, "" for
// any other value.
func meantState(value string) string {
	switch word := strings.ToLower(value); {
	case value == "y" || value == "m" || value == No:
		return ""
	case slices.Contains([]string{"y", "yes", "true", "on"}, word):
		return "y"
	case slices.Contains([]string{"m", "mod", "module"}, word):
		return "m"
	case slices.Contains([]string{"n", "no", "false", "off"}, word):
		return No
	}
	return ""
}

// Requests returns a fragment's options as requests, in the order of its lines.
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

// Merge appends requests to a defconfig and leaves the defconfig's lines
// unchanged. The kernel's own reader uses the last line about an option, so
// requests override the file and later requests override earlier ones.
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

// line returns the line for one option in a configuration file.
func line(option, value string) string {
	if value == No {
		return "# " + option + " is not set\n"
	}
	return option + "=" + value + "\n"
}
