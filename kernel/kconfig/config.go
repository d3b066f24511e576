// Package kconfig reads, compares and merges the kernel's configuration files
// (.config, defconfigs, fragments). It also reads enough of the Kconfig
// language to explain why a requested option did not take effect. The syntax is
// that of the kernel's Documentation/kbuild/kconfig-language.rst. Nothing here
// replaces the kernel's own olddefconfig, which alone determines the final
// values.
package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
)

// Prefix is the prefix of the name of every option in a configuration file.
const Prefix = "CONFIG_"

// No is the value of an option that is switched off, written as
// "# CONFIG_X is not set".
const No = "n"

// Limits for the lines of a file and the bytes of a line; a distribution's
// .config has 12 000 lines.
const (
	mostLines = 1 << 20
	mostLine  = 64 << 10
)

// Config holds options by their full name ("CONFIG_ENIC") with the values as
// they are in the file: y, m, n, a number, or a quoted string.
type Config struct {
	values map[string]string
	lines  map[string]int
}

// Name returns an option's full name: "CONFIG_ENIC" for "ENIC".
func Name(option string) string {
	if strings.HasPrefix(option, Prefix) {
		return option
	}
	return Prefix + option
}

// newConfig returns an empty configuration.
func newConfig() *Config { return &Config{values: map[string]string{}, lines: map[string]int{}} }

// Parse reads a .config, a defconfig or a fragment. Comments and blank lines
// are skipped. The last line about an option wins, as in the kernel's own
// reader. Errors call the file origin.
func Parse(r io.Reader, origin string) (*Config, error) {
	c := newConfig()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, mostLine)
	for n := 1; lines.Scan(); n++ {
		if n > mostLines {
			return nil, fault.Invalidf("reading the configuration %q: it has more than %d lines", origin, mostLines)
		}
		if err := c.parseLine(lines.Text(), n); err != nil {
			return nil, fault.Invalidf("reading the configuration %q: line %d: %w", origin, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Invalidf("reading the configuration %q: %w", origin, err)
	}
	return c, nil
}

func (c *Config) parseLine(line string, number int) error {
	line = strings.TrimSpace(line)
	if option, off := parseNotSet(line); off {
		c.values[option], c.lines[option] = No, number
		return nil
	}
	if line == "" || line[0] == '#' {
		return nil
	}
	option, value, found := strings.Cut(line, "=")
	if !found || !validName(option) {
		return fmt.Errorf("%s is neither CONFIG_NAME=value nor a comment", filetype.Line(line))
	}
	if err := checkValue(value); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	c.values[option], c.lines[option] = value, number
	return nil
}

// parseNotSet reads "# CONFIG_X is not set".
func parseNotSet(line string) (string, bool) {
	rest, comment := strings.CutPrefix(line, "# ")
	option, off := strings.CutSuffix(rest, " is not set")
	if !comment || !off || !validName(option) {
		return "", false
	}
	return option, true
}

func validName(option string) bool {
	name, found := strings.CutPrefix(option, Prefix)
	return found && name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// checkValue accepts y, m, n, decimal and hexadecimal numbers, and quoted
// strings.
func checkValue(value string) error {
	switch {
	case value == "y" || value == "m" || value == "n":
		return nil
	case strings.HasPrefix(value, `"`):
		if len(value) < 2 || !strings.HasSuffix(value, `"`) {
			return fmt.Errorf("the string %s is not closed", value)
		}
		return nil
	case value != "" && isNumber(value):
		return nil
	}
	return fmt.Errorf("the value %q is not y, m, n, a number or a string in double quotes", value)
}

func isNumber(value string) bool {
	digits := strings.TrimPrefix(value, "-")
	hex, isHex := strings.CutPrefix(strings.ToLower(digits), "0x")
	if isHex {
		return hex != "" && strings.Trim(hex, "0123456789abcdef") == ""
	}
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// Get returns an option's value, or "n" and false for a missing option. The
// name may omit "CONFIG_".
func (c *Config) Get(option string) (value string, found bool) {
	value, found = c.values[Name(option)]
	if !found {
		return No, false
	}
	return value, true
}

// Set sets an option's value.
func (c *Config) Set(option, value string) error {
	option = Name(option)
	if !validName(option) {
		return fault.Usagef("setting %q: an option's name consists of letters, digits and underscores", option)
	}
	if err := checkValue(value); err != nil {
		return fault.Usagef("setting %s: %w", option, err)
	}
	c.values[option] = value
	return nil
}

// Len returns the number of options.
func (c *Config) Len() int { return len(c.values) }

// invalidUsage returns an error about a command-line argument.
func invalidUsage(format string, args ...any) error {
	return fault.Usagef(format, args...)
}
