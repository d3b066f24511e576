package kconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Setting is an option to set, so that another one can be on.
type Setting struct {
	Option string // "CONFIG_QED"
	Value  string // "m", or "y" for an option that cannot be a module
	// Default reports that the option is on by Kconfig's default, unless a configuration
	// switches it off. Usual reports that it is one of the usual options, and not on by
	// default: often, others select it.
	Default, Usual bool
}

// String returns "CONFIG_QED=m", after "?" for an option that is on by default and "~"
// for a usual one. [ParseSetting] reads it.
func (s Setting) String() string {
	text := s.Option + "=" + s.Value
	switch {
	case s.Default:
		text = "?" + text
	case s.Usual:
		text = "~" + text
	}
	return text
}

// Expected reports whether an option is on unless a configuration says otherwise.
func (s Setting) Expected() bool { return s.Default || s.Usual }

// ParseSetting parses what [Setting.String] returns.
func ParseSetting(text string) (Setting, error) {
	name, byDefault := strings.CutPrefix(text, "?")
	name, usual := strings.CutPrefix(name, "~")
	option, value, found := strings.Cut(name, "=")
	if !found || !strings.HasPrefix(option, Prefix) || value != "m" && value != "y" {
		return Setting{}, fmt.Errorf("%q is not a setting such as %sICE=m", text, Prefix)
	}
	return Setting{option, value, byDefault, usual}, nil
}

// Settings returns what a user has to set for an option to be on, a module where
// possible: the option itself, then the options that it depends on and that do not
// follow from others. Usual are the options, without prefix, that any kernel of the
// kind in question has. Of alternatives, Settings
// takes the one with the fewest settings. For an option without a prompt, these are
// the settings from which it follows, without itself, or none if it is on in any case. An option that the architecture
// does not have, or whose dependencies cannot be met, is an error.
func (t *Tree) Settings(option string, usual []string) ([]Setting, error) {
	p := &planner{tree: t, usual: usual}
	name := strings.TrimPrefix(option, Prefix)
	var list []Setting
	var err error
	if s := t.Symbols[name]; s != nil && s.Origin != "" && s.Prompt == "" {
		list, err = p.follow(s)
	} else {
		list, err = p.symbol(nil, name, "m")
	}
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", Prefix, name, err)
	}
	return list, nil
}

// follow returns the settings from which an option without a prompt follows: those that
// its default needs, or an option that selects it.
func (p *planner) follow(s *Symbol) ([]Setting, error) {
	best := cheapest{failure: fmt.Errorf("nothing sets it")}
	for _, value := range s.defaults {
		list, err := value.settle(p, nil)
		if err == nil {
			list, err = p.definition(list, s)
		}
		best.try(list, err)
	}
	for _, by := range s.selectedBy {
		if from := p.tree.Symbols[by.by]; from.Prompt != "" {
			best.try(p.symbol(nil, by.by, "m"))
		}
	}
	return best.result()
}

// cheapest is the alternative with the fewest settings, which may be none.
type cheapest struct {
	list    []Setting
	found   bool
	failure error // of the last alternative that is not possible
}

func (c *cheapest) try(list []Setting, err error) {
	switch {
	case err != nil:
		c.failure = err
	case !c.found || cost(list) < cost(c.list):
		c.list, c.found = list, true
	}
}

func (c *cheapest) result() ([]Setting, error) {
	if !c.found {
		return nil, c.failure
	}
	return c.list, nil
}

// planner collects settings. Its methods return the list with what they add.
type planner struct {
	tree  *Tree
	usual []string
	depth int
}

// has reports whether a list has an option, at least with that value.
func has(list []Setting, name, value string) bool {
	return slices.ContainsFunc(list, func(s Setting) bool { return s.Option == Prefix+name && (s.Value == "y" || value == "m") })
}

// symbol adds an option and what it depends on.
func (p *planner) symbol(list []Setting, name, value string) ([]Setting, error) {
	switch name {
	case "y", "m":
		return list, nil
	case "n", "BROKEN", "COMPILE_TEST":
		return nil, fmt.Errorf("it depends on %s, which is off", name)
	}
	s := p.tree.Symbols[name]
	if s == nil || s.Origin == "" {
		return nil, fmt.Errorf("the architecture has no option %s%s", Prefix, name)
	}
	if has(list, name, value) {
		return list, nil
	}
	if p.depth++; p.depth > mostInclusion {
		return nil, fmt.Errorf("its dependencies are nested more than %d deep", mostInclusion)
	}
	defer func() { p.depth-- }()
	if s.Prompt == "" {
		return list, s.derivable()
	}
	if s.Type == "bool" {
		value = "y"
	}
	at := len(list)
	list = append(slices.Clone(list), Setting{Option: Prefix + name, Value: value})
	list, err := p.definition(list, s)
	if err != nil {
		return nil, err
	}
	list[at].Default = p.isDefault(s, list)
	list[at].Usual = !list[at].Default && slices.Contains(p.usual, name)
	return list, nil
}

// derivable returns an error if neither a default nor another option can set an option
// without a prompt. Otherwise the option is taken as on, whatever it depends on: nobody
// can set it.
func (s *Symbol) derivable() error {
	if len(s.defaults) == 0 && len(s.selectedBy) == 0 {
		return fmt.Errorf("nothing sets %s%s", Prefix, s.Name)
	}
	return nil
}

// definition adds what the cheapest definition of an option depends on.
func (p *planner) definition(list []Setting, s *Symbol) ([]Setting, error) {
	var best cheapest
	for i, depends := range s.depends {
		if depends = and(depends, s.visible[i]); depends == nil {
			return list, nil
		}
		best.try(depends.settle(p, list))
	}
	return best.result()
}

// cost ranks alternatives: by the settings that are not expected to be on, then by all.
func cost(list []Setting) int {
	n := len(list)
	for _, s := range list {
		if !s.Expected() {
			n += mostFiles
		}
	}
	return n
}

// isDefault reports whether an option is on by default, given the other settings.
func (p *planner) isDefault(s *Symbol, list []Setting) bool {
	value := func(name string) string {
		other := p.tree.Symbols[name]
		switch {
		case other == nil || name == s.Name:
			return "n"
		case slices.Contains(p.usual, name), has(list, name, "y"):
			return "y"
		case has(list, name, "m"):
			return "m"
		case other.Prompt == "" && len(other.selectedBy) == 0 && len(other.defaults) > 0:
			return "y" // the architecture's
		}
		return "n"
	}
	return slices.ContainsFunc(s.defaults, func(d expr) bool { return d.eval(value) > 0 })
}

// settle adds what an expression needs to be at least m.
func (e symbolExpr) settle(p *planner, list []Setting) ([]Setting, error) {
	return p.symbol(list, string(e), "m")
}

func (opaqueExpr) settle(_ *planner, list []Setting) ([]Setting, error) { return list, nil }

// A negation is met unless the list has the option, because most options are off.
func (e notExpr) settle(p *planner, list []Setting) ([]Setting, error) {
	name, plain := e.of.(symbolExpr)
	if plain && (has(list, string(name), "y") || slices.Contains(p.usual, string(name))) {
		return nil, fmt.Errorf("it needs %s%s off", Prefix, name)
	}
	return list, nil
}

func (e compareExpr) settle(p *planner, list []Setting) ([]Setting, error) {
	if e.op == "=" && (e.right == "y" || e.right == "m") {
		return p.symbol(list, e.left, e.right)
	}
	return list, nil
}

func (e andExpr) settle(p *planner, list []Setting) ([]Setting, error) {
	list, err := e.left.settle(p, list)
	if err != nil {
		return nil, err
	}
	return e.right.settle(p, list)
}

func (e orExpr) settle(p *planner, list []Setting) ([]Setting, error) {
	left, err := e.left.settle(p, list)
	right, other := e.right.settle(p, list)
	switch {
	case err != nil: // then only the right side counts
		if other != nil {
			return nil, err
		}
		return right, other
	case other == nil && cost(right) < cost(left):
		return right, nil
	}
	return left, nil
}
