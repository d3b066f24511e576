package kconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hookbuild/internal/fault"
)

// UnmetError is the error about requested options that did not take effect.
type UnmetError struct {
	// Reasons has a sentence for each option.
	Reasons []string
}

func (e *UnmetError) Error() string {
	if len(e.Reasons) == 1 {
		return e.Reasons[0]
	}
	return fmt.Sprintf("%d options did not take effect:\n%s", len(e.Reasons), strings.Join(e.Reasons, "\n"))
}

// Check compares the requested options with the configuration that olddefconfig
// made, and explains the differences by the kernel's Kconfig files. The error
// is an [*UnmetError].
func Check(asked []Request, result *Config, tree *Tree) error {
	unmet := &UnmetError{}
	for _, r := range Unmet(asked, result) {
		unmet.Reasons = append(unmet.Reasons, tree.explain(r, result))
	}
	if len(unmet.Reasons) == 0 {
		return nil
	}
	return fault.Invalidf("configuring the kernel: %w", unmet)
}

// Unmet returns the requests that a configuration does not meet. The last of
// several requests for an option wins.
func Unmet(asked []Request, result *Config) []Request {
	last := map[string]Request{}
	for _, r := range asked {
		last[r.Option] = r
	}
	var unmet []Request
	for i, r := range asked {
		if last[r.Option] != r || slices.Contains(asked[:i], r) {
			continue
		}
		if got, _ := result.Get(r.Option); got != r.Value {
			unmet = append(unmet, r)
		}
	}
	return unmet
}

// Lost explains which lines of a configuration file a kernel's source did not
// accept. It omits options that nobody can set, such as the compiler's version
// in a complete .config.
func (t *Tree) Lost(lines []Request, result *Config) []string {
	var lost []string
	for _, r := range Unmet(lines, result) {
		s := t.Symbols[strings.TrimPrefix(r.Option, Prefix)]
		if s == nil || s.Origin == "" || s.Prompt != "" {
			lost = append(lost, t.explain(r, result))
		}
	}
	return lost
}

// explain returns a sentence about why a request did not take effect.
func (t *Tree) explain(r Request, result *Config) string {
	name := strings.TrimPrefix(r.Option, Prefix)
	got, _ := result.Get(r.Option)
	head := fmt.Sprintf("%s is %s", r, inWords(got))
	s := t.Symbols[name]
	switch {
	case s == nil || s.Origin == "":
		return fmt.Sprintf("%s did not take effect: this kernel has no such option%s", r, didYouMean(t.near(name)))
	case s.Type == "bool" && r.Value == "m":
		return head + ": it is built in or absent and cannot be a module; use y or n"
	case s.outOfRange(r, result) != "":
		return head + ": " + s.outOfRange(r, result)
	case tristateOf(got) > tristateOf(r.Value):
		return head + t.forced(s, result)
	case s.choice != nil && r.Value == "y":
		if other := s.choice.chosen(result); other != "" {
			return fmt.Sprintf("%s: %s of the same choice is on; set that to n too, or omit this", head, other)
		}
	}
	if unmet := s.unmet(r, result); len(unmet) > 0 {
		return fmt.Sprintf("%s: it depends on %s", head, strings.Join(unmet, ", and on ")) + t.remedy(unmet, r.Value)
	}
	if s.Prompt == "" {
		return head + ": it cannot be set, it follows from other options" + t.selectors(s)
	}
	return fmt.Sprintf("%s although its dependencies are met; see %s in the kernel's source", head, s.Origin)
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, ", ") + "?"
}

// get returns the value of an option by its short name.
func (c *Config) get(name string) string {
	value, _ := c.Get(name)
	return value
}

// unmet returns what is missing for the definition that is closest to being
// met.
func (s *Symbol) unmet(r Request, result *Config) []string {
	want := tristateOf(r.Value)
	if want == 0 {
		want = 1 // a number or a string: the option has to be visible
	}
	var best []string
	for i, depends := range s.depends {
		depends = and(depends, s.visible[i])
		if depends == nil {
			return nil
		}
		needs := depends.needs(result.get, want)
		if len(needs) == 0 {
			return nil
		}
		if best == nil || len(needs) < len(best) {
			best = needs
		}
	}
	return distinct(best)
}

// distinct removes repetitions and keeps the order.
func distinct(all []string) []string {
	var kept []string
	for _, s := range all {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// outOfRange returns the range of an option if the requested number is outside
// it, or "".
func (s *Symbol) outOfRange(r Request, result *Config) string {
	asked, err := strconv.ParseInt(r.Value, 0, 64)
	if err != nil || s.Type != "int" && s.Type != "hex" {
		return ""
	}
	for _, b := range s.ranges {
		if b.when != nil && b.when.eval(result.get) == 0 {
			continue
		}
		low, errLow := strconv.ParseInt(operand(b.low, result.get), 0, 64)
		high, errHigh := strconv.ParseInt(operand(b.high, result.get), 0, 64)
		if errLow == nil && errHigh == nil && (asked < low || asked > high) {
			return fmt.Sprintf("it accepts numbers from %s to %s", operand(b.low, result.get), operand(b.high, result.get))
		}
		return "" // the first range whose condition holds applies
	}
	return ""
}

// remedy proposes to set what is missing, if a user can set it. For a module, a
// module is enough.
func (t *Tree) remedy(unmet []string, asked string) string {
	var sets []string
	for _, need := range unmet {
		option, state, found := strings.Cut(need, " (it is ")
		if !found || state != "not set)" && state != "m)" || strings.Contains(option, " ") {
			continue
		}
		option = strings.TrimSuffix(option, "=y")
		s := t.Symbols[strings.TrimPrefix(option, Prefix)]
		switch {
		case s == nil || s.Origin == "":
			sets = append(sets, option+" does not exist on this architecture")
		case s.Prompt != "" && asked == "m" && s.Type == "tristate" && state == "not set)":
			sets = append(sets, "add --set "+option+"=m or =y")
		case s.Prompt != "":
			sets = append(sets, "add --set "+option+"=y")
		default:
			sets = append(sets, option+" cannot be set directly"+t.selectors(s))
		}
	}
	if len(sets) == 0 {
		return ""
	}
	return " (" + strings.Join(sets, "; ") + ")"
}

// selectors names options that would select s.
func (t *Tree) selectors(s *Symbol) string {
	var by []string
	for _, sel := range s.selectedBy {
		if from := t.Symbols[sel.by]; from != nil && from.Prompt != "" {
			by = append(by, Prefix+sel.by)
		}
	}
	slices.Sort(by)
	by = slices.Compact(by)
	if len(by) == 0 {
		return ""
	}
	return ": it is selected by " + someOf(by)
}

// someOf lists up to four names.
func someOf(names []string) string {
	if len(names) > 4 {
		return strings.Join(names[:4], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// forced names the options that keep an option on that was requested to be off,
// or built in that was requested to be a module.
func (t *Tree) forced(s *Symbol, result *Config) string {
	var by []string
	for _, sel := range s.selectedBy {
		on := tristateOf(result.get(sel.by))
		if sel.when != nil {
			on = min(on, sel.when.eval(result.get))
		}
		if on > 0 {
			by = append(by, Prefix+sel.by)
		}
	}
	slices.Sort(by)
	if by = slices.Compact(by); len(by) > 0 {
		return ": it is selected by " + someOf(by) + "; switch that off too"
	}
	if s.Prompt == "" {
		return ": it cannot be set, it follows from the kernel's defaults"
	}
	return ": the kernel's own rules set it; see " + s.Origin + " in its source"
}

// chosen returns the member of the choice that is on.
func (c *choice) chosen(result *Config) string {
	for _, m := range c.members {
		if result.get(m) == "y" {
			return Prefix + m
		}
	}
	return ""
}
