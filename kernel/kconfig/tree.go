package kconfig

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Symbol is an option as the kernel's Kconfig files define it.
type Symbol struct {
	Name string // without "CONFIG_"
	// Prompt is the text in the menus. It is "" for an option that only other
	// options set.
	Prompt string
	// Type is "bool", "tristate", "int", "hex" or "string". It is "" if no
	// definition states the type.
	Type string
	// Origin is the file and line of the first definition.
	Origin string

	// ranges are the bounds of a number.
	ranges []bounds

	// depends has the dependency of each definition, and visible the condition
	// under which its prompt is shown. Nil means no condition.
	depends    []expr
	visible    []expr
	selectedBy []selection
	// defaults are the default values, of all definitions, with their conditions.
	defaults []expr
	choice   *choice
}

// bounds are the limits of a number, each a constant or an option's name.
type bounds struct {
	low, high string
	when      expr
}

type selection struct {
	by   string
	when expr
}

// choice is a group of options of which one is on.
type choice struct{ members []string }

// Tree holds all Kconfig files of the kernel for one architecture.
type Tree struct {
	Symbols map[string]*Symbol
}

// Limits for what is read of a source tree.
const (
	mostFiles     = 20000
	mostFile      = 4 << 20
	mostInclusion = 50
)

// ReadTree reads Kconfig and the files that it includes from a kernel's source.
// Read returns a file by its path in the source. Arch is the kernel's own name
// of the architecture ("x86", "arm64").
func ReadTree(read func(name string) ([]byte, error), arch string) (*Tree, error) {
	r := &reader{read: read, arch: arch, tree: &Tree{Symbols: map[string]*Symbol{}}}
	if err := r.file("Kconfig", nil, 0); err != nil {
		return nil, fmt.Errorf("reading the kernel's Kconfig files: %w", err)
	}
	return r.tree, nil
}

// reader walks the files; scopes are the open menus, ifs and choices.
type reader struct {
	read func(name string) ([]byte, error)
	arch string
	tree *Tree
	seen int
}

// block is an open if, menu or choice, or the entry that attributes belong to.
type block struct {
	kind    string // "if", "menu", "choice"
	depends expr
	choice  *choice
}

// parser reads one file.
type parser struct {
	r       *reader
	name    string
	lines   []string
	at      int
	outer   expr // the dependencies of the place that included the file
	blocks  []block
	current *Symbol // the entry that attributes belong to; nil for a menu's
	index   int     // of the current definition in current.depends
	depth   int
}

func (r *reader) file(name string, outer expr, depth int) error {
	if r.seen++; r.seen > mostFiles || depth > mostInclusion {
		return fmt.Errorf("%q: more than %d files, or files included more than %d deep", name, mostFiles, mostInclusion)
	}
	text, err := r.read(name)
	if err != nil {
		return err
	}
	if len(text) > mostFile {
		return fmt.Errorf("%q has %d bytes, more than any Kconfig file", name, len(text))
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	p := &parser{r: r, name: name, lines: strings.Split(joined, "\n"), outer: outer, depth: depth}
	for ; p.at < len(p.lines); p.at++ {
		if err := p.line(p.lines[p.at]); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, p.at+1, err)
		}
	}
	return nil
}

// scope returns the dependency of all open blocks.
func (p *parser) scope() expr {
	all := p.outer
	for _, b := range p.blocks {
		all = and(all, b.depends)
	}
	return all
}

func (p *parser) line(text string) error {
	keyword, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")), " ")
	rest = strings.TrimSpace(rest)
	switch keyword {
	case "config", "menuconfig":
		p.define(rest)
	case "menu", "choice", "if":
		return p.open(keyword, rest)
	case "endmenu", "endchoice", "endif":
		return p.close(strings.TrimPrefix(keyword, "end"))
	case "source", "rsource", "osource", "orsource":
		return p.include(keyword, rest)
	case "help", "---help---":
		p.skipHelp()
	case "comment": // it has attributes of its own, which say when it is shown
		p.current, p.index = &Symbol{depends: []expr{nil}, visible: []expr{nil}}, 0
	default:
		return p.attribute(keyword, rest)
	}
	return nil
}

// define starts an option. The same option may be defined more than once.
func (p *parser) define(name string) {
	s := p.r.tree.symbol(name)
	if s.Origin == "" {
		s.Origin = fmt.Sprintf("%s:%d", p.name, p.at+1)
	}
	s.depends, s.visible = append(s.depends, p.scope()), append(s.visible, nil)
	p.current, p.index = s, len(s.depends)-1
	for _, b := range p.blocks {
		if b.choice != nil {
			s.choice = b.choice
			b.choice.members = append(b.choice.members, name)
		}
	}
}

func (t *Tree) symbol(name string) *Symbol {
	s := t.Symbols[name]
	if s == nil {
		s = &Symbol{Name: name}
		t.Symbols[name] = s
	}
	return s
}

func (p *parser) open(kind, rest string) error {
	b := block{kind: kind}
	p.current = nil
	switch kind {
	case "if":
		condition, err := parseExpr(rest)
		if err != nil {
			return err
		}
		b.depends = condition
	case "choice":
		b.choice = &choice{}
	}
	p.blocks = append(p.blocks, b)
	return nil
}

func (p *parser) close(kind string) error {
	p.current = nil
	if len(p.blocks) == 0 || p.blocks[len(p.blocks)-1].kind != kind {
		return fmt.Errorf("end%s closes no %s", kind, kind)
	}
	p.blocks = p.blocks[:len(p.blocks)-1]
	return nil
}

// include reads another file. Its path may contain the architecture.
func (p *parser) include(keyword, rest string) error {
	p.current = nil
	name := strings.Trim(rest, `"`)
	name = strings.NewReplacer("$(SRCARCH)", p.r.arch, "$SRCARCH", p.r.arch, "$(srctree)/", "").Replace(name)
	if strings.Contains(name, "$") {
		return nil // a path that only the build knows (KUNITCONFIG and such)
	}
	if strings.Contains(keyword, "rsource") {
		name = path.Join(path.Dir(p.name), name)
	}
	err := p.r.file(path.Clean(name), p.scope(), p.depth+1)
	if err != nil && strings.HasPrefix(keyword, "o") {
		return nil
	}
	return err
}

// skipHelp skips a help text: all blank lines and lines that are indented
// deeper than the keyword.
func (p *parser) skipHelp() {
	margin := -1
	for p.at+1 < len(p.lines) {
		next := p.lines[p.at+1]
		if strings.TrimSpace(next) != "" {
			indent := indentation(next)
			if margin < 0 {
				margin = max(indent, 1)
			}
			if indent < margin {
				return
			}
		}
		p.at++
	}
}

// indentation returns the column of the first character; a tab advances to the
// next multiple of 8.
func indentation(line string) int {
	column := 0
	for _, c := range line {
		switch c {
		case ' ':
			column++
		case '\t':
			column += 8 - column%8
		default:
			return column
		}
	}
	return column
}

// attribute reads a line that belongs to the entry before it. Others than these are
// left to the kernel's own tools.
func (p *parser) attribute(keyword, rest string) error {
	switch keyword {
	case "depends":
		return p.dependsOn(strings.TrimSpace(strings.TrimPrefix(rest, "on")))
	case "bool", "tristate", "string", "int", "hex":
		p.typed(keyword)
		return p.prompt(rest)
	case "def_bool", "def_tristate":
		p.typed(strings.TrimPrefix(keyword, "def_"))
		return p.defaultsTo(rest)
	case "default":
		return p.defaultsTo(rest)
	case "prompt":
		return p.prompt(rest)
	case "range":
		return p.ranges(rest)
	case "select":
		return p.selects(rest)
	}
	return nil
}

// dependsOn reads CONDITION or, since Linux 7, CONDITION if OTHER.
func (p *parser) dependsOn(text string) error {
	text, _, _ = strings.Cut(text, " #")
	text, when, conditional := strings.Cut(text, " if ")
	condition, err := parseExpr(text)
	if err != nil {
		return err
	}
	if conditional {
		other, err := parseExpr(when)
		if err != nil {
			return err
		}
		condition = orExpr{notExpr{other}, condition}
	}
	switch {
	case p.current != nil:
		p.current.depends[p.index] = and(p.current.depends[p.index], condition)
	case len(p.blocks) > 0:
		last := &p.blocks[len(p.blocks)-1]
		last.depends = and(last.depends, condition)
	}
	return nil
}

// typed sets the type of the current option.
func (p *parser) typed(kind string) {
	if p.current != nil {
		p.current.Type = kind
	}
}

// defaultsTo reads VALUE or VALUE if CONDITION. Values of numbers and strings, and
// those that a macro computes, are left to the kernel's own tools.
func (p *parser) defaultsTo(rest string) error {
	if p.current == nil || strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'") || strings.HasPrefix(rest, "$") {
		return nil
	}
	text, condition, conditional := strings.Cut(rest, " if ")
	value, err := parseExpr(text)
	if err != nil {
		return err
	}
	if conditional {
		when, err := parseExpr(condition)
		if err != nil {
			return err
		}
		value = and(value, when)
	}
	p.current.defaults = append(p.current.defaults, value)
	return nil
}

// ranges reads LOW HIGH or LOW HIGH if CONDITION.
func (p *parser) ranges(rest string) error {
	limits, condition, conditional := strings.Cut(rest, " if ")
	words := strings.Fields(limits)
	if p.current == nil || len(words) != 2 {
		return nil
	}
	b := bounds{low: words[0], high: words[1]}
	if conditional {
		var err error
		if b.when, err = parseExpr(condition); err != nil {
			return err
		}
	}
	p.current.ranges = append(p.current.ranges, b)
	return nil
}

// prompt reads "TEXT" or "TEXT" if CONDITION.
func (p *parser) prompt(rest string) error {
	if p.current == nil || rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return nil
	}
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 0 {
		return fmt.Errorf("the string %s is not closed", rest)
	}
	if p.current.Prompt == "" {
		p.current.Prompt = rest[1 : end+1]
	}
	condition, found := strings.CutPrefix(strings.TrimSpace(rest[end+2:]), "if ")
	if !found {
		return nil
	}
	var err error
	p.current.visible[p.index], err = parseExpr(condition)
	return err
}

func (p *parser) selects(rest string) error {
	if p.current == nil {
		return nil
	}
	name, condition, found := strings.Cut(rest, " if ")
	var when expr
	if found {
		var err error
		if when, err = parseExpr(condition); err != nil {
			return err
		}
	}
	name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
	s := p.r.tree.symbol(name)
	s.selectedBy = append(s.selectedBy, selection{p.current.Name, when})
	return nil
}

// near returns up to 5 known options whose names resemble name, best first.
func (t *Tree) near(name string) []string {
	name = strings.ToUpper(strings.TrimPrefix(name, Prefix))
	limit := min(3, max(1, len(name)/3))
	type scored struct {
		name  string
		score int
	}
	var near []scored
	for _, known := range slices.Sorted(maps.Keys(t.Symbols)) {
		score := distance(name, strings.ToUpper(known), limit)
		if score > limit && len(name) >= 3 && strings.Contains(known, name) {
			score = limit
		}
		if score <= limit && t.Symbols[known].Origin != "" {
			near = append(near, scored{Prefix + known, score*100 + abs(len(known)-len(name))})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.score - b.score })
	var names []string
	for _, n := range near[:min(len(near), 5)] {
		names = append(names, n.name)
	}
	return names
}

func abs(n int) int { return max(n, -n) }

// distance counts the insertions, deletions and replacements between two names.
// It returns limit+1 if there are more than limit.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return min(row[len(b)], limit+1)
}
