package kconfig

import (
	"fmt"
	"strings"
)

// tristate is a value of the Kconfig logic: 0 is n, 1 is m, 2 is y.
type tristate int

func tristateOf(value string) tristate {
	switch value {
	case "y":
		return 2
	case "m":
		return 1
	}
	return 0
}

func (t tristate) String() string { return [...]string{"n", "m", "y"}[t] }

// values returns an option's value by its short name, and "n" for a missing
// option.
type values func(name string) string

// expr is a dependency expression.
type expr interface {
	eval(values) tristate
	// needs describes the parts of the expression that are below want. It
	// returns nothing if there are none.
	needs(v values, want tristate) []string
	// settle returns the list with the settings that the expression needs.
	settle(p *planner, list []Setting) ([]Setting, error)
	String() string
}

// symbolExpr is a name, or a constant.
type symbolExpr string

func (e symbolExpr) eval(v values) tristate {
	switch e {
	case "y", "m", "n":
		return tristateOf(string(e))
	}
	return tristateOf(v(string(e)))
}

func (e symbolExpr) String() string { return Prefix + string(e) }

func (e symbolExpr) needs(v values, want tristate) []string {
	have := e.eval(v)
	switch {
	case have >= want:
		return nil
	case e == "n":
		return []string{"something that this kernel or architecture does not have"}
	case have == 1:
		return []string{fmt.Sprintf("%s=y (it is m)", e)}
	}
	return []string{fmt.Sprintf("%s (it is not set)", e)}
}

// opaqueExpr is a macro that runs a program. Its value is known only to the
// build.
type opaqueExpr string

func (opaqueExpr) eval(values) tristate            { return 2 }
func (opaqueExpr) needs(values, tristate) []string { return nil }
func (e opaqueExpr) String() string                { return string(e) }

type notExpr struct{ of expr }

func (e notExpr) eval(v values) tristate { return 2 - e.of.eval(v) }
func (e notExpr) String() string         { return "no " + e.of.String() }

func (e notExpr) needs(v values, want tristate) []string {
	if e.eval(v) >= want {
		return nil
	}
	return []string{fmt.Sprintf("%s switched off (it is %s)", e.of, e.of.eval(v))}
}

// compareExpr is "A = B" or another comparison. Both sides are names or
// constants.
type compareExpr struct {
	left, op, right string
}

func (e compareExpr) eval(v values) tristate {
	left, right := operand(e.left, v), operand(e.right, v)
	var holds bool
	switch e.op {
	case "=":
		holds = left == right
	case "!=":
		holds = left != right
	default: // a numeric order, which is used only for compilers' versions
		holds = true
	}
	if holds {
		return 2
	}
	return 0
}

// operand returns the value of a constant or a symbol.
func operand(s string, v values) string {
	if text, quoted := strings.CutPrefix(s, `"`); quoted {
		return strings.TrimSuffix(text, `"`)
	}
	if s == "y" || s == "m" || s == "n" || s == "" || isNumber(s) {
		return s
	}
	return strings.Trim(v(s), `"`)
}

func (e compareExpr) String() string { return fmt.Sprintf("%s%s %s %s", Prefix, e.left, e.op, e.right) }

func (e compareExpr) needs(v values, want tristate) []string {
	if e.eval(v) >= want {
		return nil
	}
	return []string{fmt.Sprintf("%s (it is %s)", e, inWords(operand(e.left, v)))}
}

type andExpr struct{ left, right expr }

func (e andExpr) eval(v values) tristate { return min(e.left.eval(v), e.right.eval(v)) }
func (e andExpr) String() string         { return e.left.String() + " and " + e.right.String() }

func (e andExpr) needs(v values, want tristate) []string {
	return append(e.left.needs(v, want), e.right.needs(v, want)...)
}

type orExpr struct{ left, right expr }

func (e orExpr) eval(v values) tristate { return max(e.left.eval(v), e.right.eval(v)) }
func (e orExpr) String() string         { return "(" + e.left.String() + " or " + e.right.String() + ")" }

func (e orExpr) needs(v values, want tristate) []string {
	if e.eval(v) >= want {
		return nil
	}
	return []string{strings.Join(e.left.needs(v, want), " and ") + ", or " + strings.Join(e.right.needs(v, want), " and ")}
}

// and joins two expressions. Either may be nil, which means y.
func and(a, b expr) expr {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return andExpr{a, b}
}

// exprParser parses an expression: "A && (B || !C) && D = y".
type exprParser struct {
	tokens []string
	depth  int
}

// mostDepth limits nested parentheses.
const mostDepth = 100

func parseExpr(text string) (expr, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, err
	}
	p := &exprParser{tokens: tokens}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if len(p.tokens) > 0 {
		return nil, fmt.Errorf("the expression %q is followed by %q", text, p.tokens[0])
	}
	return e, nil
}

func (p *exprParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *exprParser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *exprParser) or() (expr, error) {
	left, err := p.and()
	for err == nil && p.peek() == "||" {
		p.next()
		var right expr
		right, err = p.and()
		left = orExpr{left, right}
	}
	return left, err
}

func (p *exprParser) and() (expr, error) {
	left, err := p.unary()
	for err == nil && p.peek() == "&&" {
		p.next()
		var right expr
		right, err = p.unary()
		left = andExpr{left, right}
	}
	return left, err
}

func (p *exprParser) unary() (expr, error) {
	if p.depth++; p.depth > mostDepth {
		return nil, fmt.Errorf("an expression is nested more than %d deep", mostDepth)
	}
	defer func() { p.depth-- }()
	switch t := p.next(); t {
	case "":
		return nil, fmt.Errorf("an expression is incomplete")
	case "!":
		of, err := p.unary()
		return notExpr{of}, err
	case "(":
		inner, err := p.or()
		if err == nil && p.next() != ")" {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		return inner, err
	default:
		return p.leaf(t)
	}
}

func (p *exprParser) leaf(t string) (expr, error) {
	switch op := p.peek(); op {
	case "=", "!=", "<", ">", "<=", ">=":
		p.next()
		return compareExpr{t, op, p.next()}, nil
	}
	if strings.Contains(t, "$(") {
		return opaqueExpr(t), nil
	}
	return symbolExpr(strings.Trim(t, `"`)), nil
}

// tokenize splits an expression. A quoted string and a macro call are one token
// each.
func tokenize(text string) ([]string, error) {
	var tokens []string
	for text = strings.TrimSpace(text); text != "" && text[0] != '#'; text = strings.TrimSpace(text) {
		n, err := tokenLength(text)
		if err != nil {
			return nil, err
		}
		token := text[:n]
		if token[0] == '\'' {
			token = `"` + strings.Trim(token, "'") + `"`
		}
		tokens = append(tokens, token)
		text = text[n:]
	}
	return tokens, nil
}

func tokenLength(text string) (int, error) {
	for _, op := range []string{"&&", "||", "!=", "<=", ">=", "=", "<", ">", "!", "(", ")"} {
		if strings.HasPrefix(text, op) {
			return len(op), nil
		}
	}
	if q := text[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(text[1:], q)
		if end < 0 {
			return 0, fmt.Errorf("the string %s is not closed", text)
		}
		return end + 2, nil
	}
	if strings.HasPrefix(text, "$(") {
		return macroLength(text)
	}
	n := strings.IndexAny(text, " \t&|!=<>()#\"'")
	switch {
	case n < 0:
		return len(text), nil
	case n == 0:
		return 0, fmt.Errorf("the expression has an unexpected %q", text[:1])
	}
	return n, nil
}

// macroLength returns the length of a macro call with its nested parentheses.
func macroLength(text string) (int, error) {
	depth := 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, fmt.Errorf("the macro %s is not closed", text)
}
