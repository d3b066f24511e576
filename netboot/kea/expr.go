package kea

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hookbuild/netboot"
)

// expression is the test of a class or a part of it. Its value is raw bytes, and
// "true" or "false" for a condition. If the value is not known, why says the
// reason.
type expression interface {
	eval(e *environment) (value, why string)
}

// environment holds everything that a test can refer to.
type environment struct {
	request netboot.Request
	classes map[string]bool
	// unknown maps the classes that the client may be in to the reason.
	unknown map[string]string
}

type (
	literal   string
	memberOf  string
	packetMAC struct{}
	// unknown is a value that differs between clients or networks.
	unknown  string
	optionOf struct {
		code         int
		exists, text bool
	}
	substringOf struct {
		of            expression
		start, length int // length -1 means all
	}
	joined struct{ a, b expression }
	choice struct{ test, a, b expression }
	equal  struct{ a, b expression }
	both   struct{ a, b expression }
	either struct{ a, b expression }
	not    struct{ a expression }
)

func truth(b bool) string { return strconv.FormatBool(b) }

func (l literal) eval(*environment) (string, string)   { return string(l), "" }
func (u unknown) eval(*environment) (string, string)   { return "", string(u) }
func (packetMAC) eval(e *environment) (string, string) { return string(e.request.MAC[:]), "" }

func (m memberOf) eval(e *environment) (string, string) {
	return truth(e.classes[string(m)]), e.unknown[string(m)]
}

func (q equal) eval(e *environment) (string, string) {
	a, whyA := q.a.eval(e)
	b, whyB := q.b.eval(e)
	return truth(a == b), cmp.Or(whyA, whyB)
}

func (j joined) eval(e *environment) (string, string) {
	a, whyA := j.a.eval(e)
	b, whyB := j.b.eval(e)
	return a + b, cmp.Or(whyA, whyB)
}

func (c choice) eval(e *environment) (string, string) {
	test, why := c.test.eval(e)
	if why != "" {
		return "", why
	}
	if test == "true" {
		return c.a.eval(e)
	}
	return c.b.eval(e)
}

func (n not) eval(e *environment) (string, string) {
	a, why := n.a.eval(e)
	return truth(a != "true"), why
}

// eval returns false if either side is known to be false.
func (q both) eval(e *environment) (string, string) {
	a, whyA := q.a.eval(e)
	b, whyB := q.b.eval(e)
	if a != "true" && whyA == "" || b != "true" && whyB == "" {
		return truth(false), ""
	}
	return truth(true), cmp.Or(whyA, whyB)
}

// eval returns true if either side is known to be true.
func (q either) eval(e *environment) (string, string) {
	a, whyA := q.a.eval(e)
	b, whyB := q.b.eval(e)
	if a == "true" && whyA == "" || b == "true" && whyB == "" {
		return truth(true), ""
	}
	return truth(false), cmp.Or(whyA, whyB)
}

func (o optionOf) eval(e *environment) (string, string) {
	value, sent, valued, known := e.request.Option(o.code)
	switch {
	case !known:
		return "", fmt.Sprintf("clients differ in option %d", o.code)
	case o.exists:
		return truth(sent), ""
	case sent && !valued:
		return "", fmt.Sprintf("clients differ in the value of option %d", o.code)
	case o.text && sent:
		return o.describe(value), ""
	}
	return value, ""
}

// describe returns the value of Kea's ".text": the text of a string option, or a
// description of the bytes.
func (o optionOf) describe(value string) string {
	if o.code == 60 {
		return value
	}
	return fmt.Sprintf("type=%03d, len=%03d: % x", o.code, len(value), value)
}

// eval counts a negative start from the end, like Kea.
func (s substringOf) eval(e *environment) (string, string) {
	text, why := s.of.eval(e)
	start := s.start
	if start < 0 {
		start += len(text)
	}
	if start < 0 || start >= len(text) {
		return "", why
	}
	text = text[start:]
	if s.length >= 0 && s.length < len(text) {
		text = text[:s.length]
	}
	return text, why
}

// exprReader reads a test by recursive descent.
type exprReader struct {
	tokens []string
	depth  int
	// members are the classes on which the test depends.
	members []string
}

// parseTest parses a test, and returns it with the classes that it refers to.
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

// tokenize splits a test into words, strings (which begin with a quote) and signs.
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

// take consumes the tokens and reports true if they come next.
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
	case token == "concat" && r.take("("):
		return r.pair(func(a, b expression) expression { return joined{a, b} })
	case token == "ifelse" && r.take("("):
		return r.choice()
	case token == "pkt4" && r.take("."):
		return r.packet(r.next())
	case (token == "relay4" || token == "vendor" || token == "vendor-class") && r.skipAccess():
		return unknown("it depends on " + token + "[...], which differs between clients or relays"), nil
	default:
		n, err := strconv.ParseUint(token, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not understood here", token)
		}
		return literal(string(binary.BigEndian.AppendUint32(nil, uint32(n)))), nil
	}
}

func hexLiteral(token string) (expression, error) {
	digits := token[2:]
	if len(digits)%2 == 1 {
		digits = "0" + digits // like Kea: 0x7 is one byte
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

// option parses the rest of option[93].hex, .text or .exists.
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
		return optionOf{code: code, text: true}, nil
	case "exists":
		return optionOf{code: code, exists: true}, nil
	default:
		return nil, fmt.Errorf("option[%s].%s is not understood here", name, kind)
	}
}

// packet parses a field of the message.
func (r *exprReader) packet(field string) (expression, error) {
	switch field {
	case "mac":
		return packetMAC{}, nil
	case "htype", "hlen": // Ethernet's, as numbers of four bytes
		return literal(map[string]string{"htype": "\x00\x00\x00\x01", "hlen": "\x00\x00\x00\x06"}[field]), nil
	case "ciaddr", "giaddr", "yiaddr", "siaddr", "transid", "len", "msgtype":
		return unknown("pkt4." + field + " differs between messages"), nil
	}
	return nil, fmt.Errorf("pkt4.%s is not understood here", field)
}

// skipAccess consumes the tokens after relay4 or vendor, up to the property's name.
func (r *exprReader) skipAccess() bool {
	for _, want := range []string{"[", "", "]", "."} {
		if t := r.next(); t == "" || want != "" && t != want {
			return false
		}
	}
	property := r.next()
	if property == "option" { // as in vendor[1].option[2].hex
		return r.skipAccess()
	}
	return property != ""
}

// pair parses two values and the closing parenthesis.
func (r *exprReader) pair(build func(a, b expression) expression) (expression, error) {
	a, err := r.value()
	if err != nil {
		return nil, err
	}
	if !r.take(",") {
		return nil, errors.New("a comma is missing")
	}
	b, err := r.value()
	if err != nil {
		return nil, err
	}
	return build(a, b), r.closing()
}

// choice parses the arguments of ifelse.
func (r *exprReader) choice() (expression, error) {
	test, err := r.or()
	if err != nil {
		return nil, err
	}
	if !r.take(",") {
		return nil, errors.New("a comma is missing")
	}
	return r.pair(func(a, b expression) expression { return choice{test, a, b} })
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
