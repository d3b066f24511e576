package dhcpd

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"hookbuild/netboot"
)

type (
	// environment holds everything that a condition can refer to.
	environment struct {
		request netboot.Request
		// known reports whether the client has a host declaration, and static
		// whether it has a fixed address.
		known, static bool
	}
	// condition is a test of a request. If the result is not known, why says
	// the reason.
	condition func(*environment) (holds bool, why string)
	// value is a term. Ok is false if the term is an option that is not sent.
	value func(*environment) (bytes string, ok bool, why string)
)

// conditionReader reads a condition by recursive descent.
type conditionReader struct {
	tokens []token
	names  map[string]int
	depth  int
}

// parseCondition parses the text between if and {.
func parseCondition(tokens []token, names map[string]int) (condition, error) {
	r := &conditionReader{tokens: tokens, names: names}
	c, err := r.or()
	if err == nil {
		err = r.end()
	}
	return c, err
}

// parseValue parses the expression of a statement.
func parseValue(tokens []token, names map[string]int) (value, error) {
	r := &conditionReader{tokens: tokens, names: names}
	v, err := r.value()
	if err == nil {
		err = r.end()
	}
	return v, err
}

func (r *conditionReader) end() error {
	if len(r.tokens) > 0 {
		return fmt.Errorf("%q is not evaluated", r.tokens[0].text)
	}
	return nil
}

func (r *conditionReader) take(words ...string) bool {
	if len(r.tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if r.tokens[i].quoted || r.tokens[i].text != w {
			return false
		}
	}
	r.tokens = r.tokens[len(words):]
	return true
}

func (r *conditionReader) next() token {
	if len(r.tokens) == 0 {
		return token{}
	}
	t := r.tokens[0]
	r.tokens = r.tokens[1:]
	return t
}

func (r *conditionReader) or() (condition, error) {
	left, err := r.and()
	for err == nil && r.take("or") {
		a := left
		var b condition
		if b, err = r.and(); err != nil {
			return nil, err
		}
		left = func(e *environment) (bool, string) {
			x, whyX := a(e)
			y, whyY := b(e)
			if x && whyX == "" || y && whyY == "" {
				return true, ""
			}
			return false, cmp.Or(whyX, whyY)
		}
	}
	return left, err
}

func (r *conditionReader) and() (condition, error) {
	left, err := r.not()
	for err == nil && r.take("and") {
		a := left
		var b condition
		if b, err = r.not(); err != nil {
			return nil, err
		}
		left = func(e *environment) (bool, string) {
			x, whyX := a(e)
			y, whyY := b(e)
			if !x && whyX == "" || !y && whyY == "" {
				return false, ""
			}
			return true, cmp.Or(whyX, whyY)
		}
	}
	return left, err
}

func (r *conditionReader) not() (condition, error) {
	if r.depth++; r.depth > deepest {
		return nil, errors.New("it is nested too deep")
	}
	defer func() { r.depth-- }()
	switch {
	case r.take("not"):
		c, err := r.not()
		return func(e *environment) (bool, string) {
			holds, why := c(e)
			return !holds, why
		}, err
	case r.take("exists"):
		code := codeOf(r.next().text, r.names)
		if code == 0 {
			return nil, errors.New("hookbuild does not know the option")
		}
		return func(e *environment) (bool, string) {
			_, sent, _, known := e.request.Option(code)
			if !known {
				return false, fmt.Sprintf("clients differ in option %d", code)
			}
			return sent, ""
		}, nil
	case r.take("known"):
		return func(e *environment) (bool, string) { return e.known, "" }, nil
	case r.take("static"):
		return func(e *environment) (bool, string) { return e.static, "" }, nil
	case r.take("("):
		c, err := r.or()
		if err == nil && !r.take(")") {
			err = errors.New("a ) is missing")
		}
		return c, err
	}
	return r.comparison()
}

func (r *conditionReader) comparison() (condition, error) {
	left, err := r.value()
	if err != nil {
		return nil, err
	}
	switch {
	case r.take("~", "="):
		return r.pattern(left, "")
	case r.take("~~"):
		return r.pattern(left, "(?i)")
	}
	unequal := r.take("!", "=") || r.take("!=")
	if !unequal && !r.take("=") {
		return nil, errors.New("expected a comparison with =")
	}
	right, err := r.value()
	return func(e *environment) (bool, string) {
		a, ok1, why1 := left(e)
		b, ok2, why2 := right(e)
		return (ok1 == ok2 && a == b) != unequal, cmp.Or(why1, why2)
	}, err
}

// pattern parses the regular expression of a comparison.
func (r *conditionReader) pattern(of value, flags string) (condition, error) {
	t := r.next()
	re, err := regexp.Compile(flags + t.text)
	if err != nil || !t.quoted {
		return nil, fmt.Errorf("the pattern %q is not evaluated", t.text)
	}
	return func(e *environment) (bool, string) {
		text, ok, why := of(e)
		return ok && re.MatchString(text), why
	}, nil
}

func (r *conditionReader) value() (value, error) {
	if r.depth++; r.depth > deepest {
		return nil, errors.New("it is nested too deep")
	}
	defer func() { r.depth-- }()
	switch t := r.next(); {
	case t.quoted:
		return constant(t.text), nil
	case t.text == "option":
		return r.option()
	case t.text == "substring" && r.take("("):
		return r.substring()
	case t.text == "suffix" && r.take("("):
		return r.suffix()
	case t.text == "concat" && r.take("("):
		return r.concat()
	case t.text == "lcase" && r.take("("):
		return r.mapped(strings.ToLower)
	case t.text == "ucase" && r.take("("):
		return r.mapped(strings.ToUpper)
	case t.text == "hardware":
		return func(e *environment) (string, bool, string) { return "\x01" + string(e.request.MAC[:]), true, "" }, nil
	default:
		raw, err := number(t.text)
		return constant(raw), err
	}
}

func constant(text string) value {
	return func(*environment) (string, bool, string) { return text, true, "" }
}

func (r *conditionReader) option() (value, error) {
	code := codeOf(r.next().text, r.names)
	if code == 0 {
		return nil, errors.New("hookbuild does not know the option")
	}
	return func(e *environment) (string, bool, string) {
		text, sent, valued, known := e.request.Option(code)
		switch {
		case !known:
			return "", false, fmt.Sprintf("clients differ in option %d", code)
		case sent && !valued:
			return "", true, fmt.Sprintf("clients differ in the value of option %d", code)
		}
		return text, sent, ""
	}, nil
}

// number parses hexadecimal bytes, such as 00:07.
func number(text string) (string, error) {
	var padded []string
	for part := range strings.SplitSeq(text, ":") {
		if len(part) == 1 {
			part = "0" + part
		}
		padded = append(padded, part)
	}
	raw, err := hex.DecodeString(strings.Join(padded, ""))
	if err != nil || text == "" {
		return "", fmt.Errorf("%q is not evaluated", text)
	}
	return string(raw), nil
}

// integer parses a comma and a number that is not negative.
func (r *conditionReader) integer() (int, bool) {
	comma := r.take(",")
	n, err := strconv.Atoi(r.next().text)
	return n, comma && err == nil && n >= 0
}

func (r *conditionReader) substring() (value, error) {
	of, err := r.value()
	if err != nil {
		return nil, err
	}
	start, ok1 := r.integer()
	length, ok2 := r.integer()
	if !ok1 || !ok2 || !r.take(")") {
		return nil, errors.New("substring is not of the form substring(VALUE, OFFSET, LENGTH)")
	}
	return func(e *environment) (string, bool, string) {
		text, ok, why := of(e)
		if start >= len(text) {
			return "", ok, why
		}
		return text[start:min(len(text), start+length)], ok, why
	}, nil
}

func (r *conditionReader) suffix() (value, error) {
	of, err := r.value()
	if err != nil {
		return nil, err
	}
	length, ok := r.integer()
	if !ok || !r.take(")") {
		return nil, errors.New("suffix is not of the form suffix(VALUE, LENGTH)")
	}
	return func(e *environment) (string, bool, string) {
		text, ok, why := of(e)
		return text[max(0, len(text)-length):], ok, why
	}, nil
}

// concat joins those of its arguments that exist.
func (r *conditionReader) concat() (value, error) {
	var parts []value
	for {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		parts = append(parts, v)
		if r.take(")") {
			break
		}
		if !r.take(",") {
			return nil, errors.New("a ) is missing")
		}
	}
	return func(e *environment) (string, bool, string) {
		joined, there, unsure := "", false, ""
		for _, p := range parts {
			text, ok, why := p(e)
			joined, there, unsure = joined+text, there || ok, cmp.Or(unsure, why)
		}
		return joined, there, unsure
	}, nil
}

func (r *conditionReader) mapped(fn func(string) string) (value, error) {
	of, err := r.value()
	if err == nil && !r.take(")") {
		err = errors.New("a ) is missing")
	}
	return func(e *environment) (string, bool, string) {
		text, ok, why := of(e)
		return fn(text), ok, why
	}, err
}
