package kea

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"hookbuild/netboot"
)

// expression is a class's test. Evaluated, it is a value or a truth.
type expression interface {
	eval(e *environment) string // raw bytes; truths are "true" and "false"
}

// environment is what a test can refer to.
type environment struct {
	request netboot.Request
	classes map[string]bool
}

type (
	literal   string
	memberOf  string
	packetMAC struct{}
	optionOf  struct {
		code   int
		exists bool
	}
	substringOf struct {
		of            expression
		start, length int // length -1 is all
	}
	equal  struct{ a, b expression }
	both   struct{ a, b expression }
	either struct{ a, b expression }
	not    struct{ a expression }
)

func truth(b bool) string { return strconv.FormatBool(b) }

func (l literal) eval(*environment) string    { return string(l) }
func (m memberOf) eval(e *environment) string { return truth(e.classes[string(m)]) }
func (packetMAC) eval(e *environment) string  { return string(e.request.MAC[:]) }
func (q equal) eval(e *environment) string    { return truth(q.a.eval(e) == q.b.eval(e)) }
func (n not) eval(e *environment) string      { return truth(n.a.eval(e) != "true") }
func (q both) eval(e *environment) string {
	return truth(q.a.eval(e) == "true" && q.b.eval(e) == "true")
}
func (q either) eval(e *environment) string {
	return truth(q.a.eval(e) == "true" || q.b.eval(e) == "true")
}

func (o optionOf) eval(e *environment) string {
	value := ""
	switch o.code {
	case 60:
		value = e.request.Vendor
	case 77:
		value = e.request.UserClass
	case 93:
		for _, a := range e.request.Archs {
			value += string([]byte{byte(a >> 8), byte(a)})
		}
	}
	if o.exists {
		return truth(value != "")
	}
	return value
}

// eval counts a negative start from the end, as Kea does.
func (s substringOf) eval(e *environment) string {
	text := s.of.eval(e)
	start := s.start
	if start < 0 {
		start += len(text)
	}
	if start < 0 || start >= len(text) {
		return ""
	}
	text = text[start:]
	if s.length >= 0 && s.length < len(text) {
		text = text[:s.length]
	}
	return text
}

// exprReader reads a test by recursive descent.
type exprReader struct {
	tokens []string
	depth  int
	// members are the classes that the test depends on.
	members []string
}

// parseTest reads a test, and gives the classes that it refers to.
func parseTest(text string) (expression, []string, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, nil, err
	}
	r := &exprReader{tokens: tokens}
	e, err := r.or()
	if err == nil && len(r.tokens) > 0 {
		err = fmt.Errorf("%q is not understood here", r.tokens[0])
	}
	return e, r.members, err
}

// tokenize splits a test into words, strings (beginning with a quote) and
// signs.
func tokenize(text string) ([]string, error) {
	var tokens []string
	for text = strings.TrimLeft(text, " \t\r\n"); text != ""; text = strings.TrimLeft(text, " \t\r\n") {
		n := 1
		switch {
		case text[0] == '\'':
			end := strings.IndexByte(text[1:], '\'')
			if end < 0 {
				return nil, fmt.Errorf("a quote has no end")
			}
			n = end + 2
		case strings.HasPrefix(text, "=="):
			n = 2
		case isWord(text[0]):
			for n < len(text) && isWord(text[n]) {
				n++
			}
		}
		tokens = append(tokens, text[:n])
		text = text[n:]
	}
	return tokens, nil
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// take takes the tokens when they come next.
func (r *exprReader) take(want ...string) bool {
	if len(r.tokens) < len(want) {
		return false
	}
	for i, w := range want {
		if r.tokens[i] != w {
			return false
		}
	}
	r.tokens = r.tokens[len(want):]
	return true
}

func (r *exprReader) next() string {
	if len(r.tokens) == 0 {
		return ""
	}
	t := r.tokens[0]
	r.tokens = r.tokens[1:]
	return t
}

func (r *exprReader) or() (expression, error) {
	left, err := r.and()
	for err == nil && r.take("or") {
		var right expression
		right, err = r.and()
		left = either{left, right}
	}
	return left, err
}

func (r *exprReader) and() (expression, error) {
	left, err := r.not()
	for err == nil && r.take("and") {
		var right expression
		right, err = r.not()
		left = both{left, right}
	}
	return left, err
}

func (r *exprReader) not() (expression, error) {
	if r.depth++; r.depth > deepestValue {
		return nil, fmt.Errorf("it is nested more than %d deep", deepestValue)
	}
	defer func() { r.depth-- }()
	if r.take("not") {
		e, err := r.not()
		return not{e}, err
	}
	if r.take("(") {
		e, err := r.or()
		if err == nil && !r.take(")") {
			err = fmt.Errorf("a ) is missing")
		}
		return e, err
	}
	return r.comparison()
}

func (r *exprReader) comparison() (expression, error) {
	left, err := r.value()
	if err != nil || !r.take("==") {
		return left, err
	}
	right, err := r.value()
	return equal{left, right}, err
}

func (r *exprReader) value() (expression, error) {
	switch token := r.next(); {
	case strings.HasPrefix(token, "'"):
		return literal(strings.Trim(token, "'")), nil
	case strings.HasPrefix(token, "0x"):
		return hexLiteral(token)
	case token == "member" && r.take("("):
		name := strings.Trim(r.next(), "'")
		r.members = append(r.members, name)
		return memberOf(name), r.closing()
	case token == "option" && r.take("["):
		return r.option()
	case token == "substring" && r.take("("):
		return r.substring()
	case token == "pkt4" && r.take(".", "mac"):
		return packetMAC{}, nil
	default:
		return nil, fmt.Errorf("%q is not understood here", token)
	}
}

func hexLiteral(token string) (expression, error) {
	digits := token[2:]
	if len(digits)%2 == 1 {
		digits = "0" + digits // as Kea reads it: 0x7 is one byte
	}
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%q is not hexadecimal", token)
	}
	return literal(raw), nil
}

func (r *exprReader) closing() error {
	if !r.take(")") {
		return fmt.Errorf("a ) is missing")
	}
	return nil
}

// option reads the rest of option[93].hex, .text or .exists.
func (r *exprReader) option() (expression, error) {
	name := r.next()
	code, err := strconv.Atoi(name)
	if err != nil {
		code = optionCodes()[name]
	}
	if !r.take("]", ".") {
		return nil, fmt.Errorf("option[%s] is not understood here", name)
	}
	switch kind := r.next(); kind {
	case "hex":
		return optionOf{code: code}, nil
	case "text":
		if code == 77 || code == 93 {
			return nil, fmt.Errorf("option[%s].text is Kea's description of the bytes, not what the client sent; compare .hex", name)
		}
		return optionOf{code: code}, nil
	case "exists":
		return optionOf{code: code, exists: true}, nil
	default:
		return nil, fmt.Errorf("option[%s].%s is not understood here", name, kind)
	}
}

func (r *exprReader) substring() (expression, error) {
	of, err := r.value()
	if err != nil {
		return nil, err
	}
	s := substringOf{of: of, length: -1}
	if !r.take(",") {
		return nil, fmt.Errorf("substring has no start")
	}
	if s.start, err = strconv.Atoi(r.next()); err != nil {
		return nil, fmt.Errorf("the start of a substring is not a number")
	}
	if !r.take(",") {
		return nil, fmt.Errorf("substring has no length")
	}
	if length := r.next(); length != "all" {
		if s.length, err = strconv.Atoi(length); err != nil {
			return nil, fmt.Errorf("the length of a substring is not a number")
		}
	}
	return s, r.closing()
}
