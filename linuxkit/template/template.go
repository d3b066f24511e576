// Package template expands a HookOS template as upstream does with envsubst and
// a list of variables. Shell text in the template keeps its dollars.
package template

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"hookbuild/internal/fault"
)

// variable matches what envsubst considers a variable.
var variable = regexp.MustCompile(`\$(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)`)

// leftover matches a HOOK_ variable in any form that a shell accepts.
var leftover = regexp.MustCompile(`\$\{?(HOOK_[A-Za-z0-9_]*)`)

// maxSize is the largest size of a template in bytes.
const maxSize = 4 << 20

// Expand replaces $NAME and ${NAME} by the value of every name in vars, and
// leaves all others unchanged. A HOOK_ variable that is not in vars, or is
// empty there, is an error that names it and its line, unless the line is a
// comment. A value of more than one line is an error too.
func Expand(template []byte, vars map[string]string) ([]byte, error) {
	if len(template) > maxSize {
		return nil, invalid("the template has %d bytes, more than %d", len(template), maxSize)
	}
	var out bytes.Buffer
	number := 0
	for line := range bytes.Lines(template) {
		number++
		expanded, err := expandLine(string(line), number, vars)
		if err != nil {
			return nil, err
		}
		out.WriteString(expanded)
	}
	return out.Bytes(), nil
}

// expandLine expands one line. Apart from the expanded variables, the line must
// not contain another HOOK_ variable; values are not expanded again.
func expandLine(line string, number int, vars map[string]string) (string, error) {
	comment := strings.HasPrefix(strings.TrimLeft(line, " \t"), "#")
	var out, rest strings.Builder
	end := 0
	for _, m := range variable.FindAllStringSubmatchIndex(line, -1) {
		name := strings.Trim(line[m[0]:m[1]], "${}")
		value, known := vars[name]
		if !known {
			continue
		}
		if err := checkValue(name, value, comment); err != nil {
			return "", invalid("line %d: %w", number, err)
		}
		out.WriteString(line[end:m[0]] + value)
		rest.WriteString(line[end:m[0]] + " ")
		end = m[1]
	}
	rest.WriteString(line[end:])
	if m := leftover.FindStringSubmatch(rest.String()); m != nil && !comment {
		return "", invalid("line %d: the variable %s has no value; set it, or remove it from the template", number, m[1])
	}
	return out.String() + line[end:], nil
}

func checkValue(name, value string, comment bool) error {
	switch {
	case strings.ContainsAny(value, "\n\r"):
		return fmt.Errorf("the value of %s has more than one line", name)
	case value == "" && !comment && strings.HasPrefix(name, "HOOK_"):
		return fmt.Errorf("the variable %s is empty; set its value", name)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fault.Invalidf(format, args...)
}
