package dhcpd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hookbuild/netboot"
)

type (
	// condition is a test of a request.
	condition func(netboot.Request) bool
	// value is the bytes that a term stands for; ok is false where an option
	// is not sent.
	value func(netboot.Request) (bytes string, ok bool)
)

// conditionReader reads a condition by recursive descent.
type conditionReader struct {
	tokens []token
	names  map[string]int
	depth  int
}

// parseCondition reads what stands between if and {.
func parseCondition(tokens []token, names map[string]int) (condition, error) {
	r := &conditionReader{tokens: tokens, names: names}
	c, err := r.or()
	if err == nil && len(r.tokens) > 0 {
		err = fmt.Errorf("%q is not understood here", r.tokens[0].text)
	}
	return c, err
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
		a, b := left, condition(nil)
		if b, err = r.and(); err == nil {
			left = func(q netboot.Request) bool { return a(q) || b(q) }
		}
	}
	return left, err
}

func (r *conditionReader) and() (condition, error) {
	left, err := r.not()
	for err == nil && r.take("and") {
		a, b := left, condition(nil)
		if b, err = r.not(); err == nil {
			left = func(q netboot.Request) bool { return a(q) && b(q) }
		}
	}
	return left, err
}

func (r *conditionReader) not() (condition, error) {
	if r.depth++; r.depth > deepest {
		return nil, errors.New("it is nested too deep")
	}
	defer func() { r.depth-- }()
	if r.take("not") {
		c, err := r.not()
		return func(q netboot.Request) bool { return !c(q) }, err
	}
	if r.take("exists") {
		code := codeOf(r.next().text, r.names)
		return func(q netboot.Request) bool { _, ok := option(q, code); return ok }, nil
	}
	if r.take("(") {
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
	unequal := r.take("!", "=") || r.take("!=")
	if !unequal && !r.take("=") {
		return nil, errors.New("a comparison with = is expected")
	}
	right, err := r.value()
	return func(q netboot.Request) bool {
		a, ok1 := left(q)
		b, ok2 := right(q)
		return (ok1 && ok2 && a == b) != unequal
	}, err
}

func (r *conditionReader) value() (value, error) {
	switch t := r.next(); {
	case t.quoted:
		return constant(t.text), nil
	case t.text == "option":
		code := codeOf(r.next().text, r.names)
		if code == 0 {
			return nil, errors.New("the option is not known here")
		}
		return func(q netboot.Request) (string, bool) { return option(q, code) }, nil
	case t.text == "substring" && r.take("("):
		return r.substring()
	case t.text == "hardware":
		return func(q netboot.Request) (string, bool) { return "\x01" + string(q.MAC[:]), true }, nil
	default:
		return number(t.text)
	}
}

func constant(text string) value {
	return func(netboot.Request) (string, bool) { return text, true }
}

// number reads bytes in hexadecimal, as 00:07.
func number(text string) (value, error) {
	var padded []string
	for part := range strings.SplitSeq(text, ":") {
		if len(part) == 1 {
			part = "0" + part
		}
		padded = append(padded, part)
	}
	raw, err := hex.DecodeString(strings.Join(padded, ""))
	if err != nil || text == "" {
		return nil, fmt.Errorf("%q is not understood here", text)
	}
	return constant(string(raw)), nil
}

func (r *conditionReader) substring() (value, error) {
	of, err := r.value()
	if err != nil {
		return nil, err
	}
	if !r.take(",") {
		return nil, errors.New("substring has no offset")
	}
	start, err1 := strconv.Atoi(r.next().text)
	comma := r.take(",")
	length, err2 := strconv.Atoi(r.next().text)
	if err1 != nil || err2 != nil || !comma || !r.take(")") || start < 0 || length < 0 {
		return nil, errors.New("substring is not of the form substring(VALUE, OFFSET, LENGTH)")
	}
	return func(q netboot.Request) (string, bool) {
		text, ok := of(q)
		if start >= len(text) {
			return "", ok
		}
		return text[start:min(len(text), start+length)], ok
	}, nil
}

// option is what a client sends.
func option(q netboot.Request, code int) (string, bool) {
	switch code {
	case 60:
		return q.Vendor, q.Vendor != ""
	case 77:
		return q.UserClass, q.UserClass != ""
	case 93:
		var b strings.Builder
		for _, a := range q.Archs {
			b.Write([]byte{byte(a >> 8), byte(a)})
		}
		return b.String(), len(q.Archs) > 0
	}
	return "", false
}
