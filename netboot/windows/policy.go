package windows

import (
	"encoding/hex"
	"slices"
	"strings"

	"hookbuild/netboot"
)

// matching gives the options of the policies that a client matches, in their
// order.
func (c *config) matching(q netboot.Request, policies []policy) [][]optionValue {
	ordered := slices.Clone(policies)
	slices.SortStableFunc(ordered, func(a, b policy) int { return a.Order - b.Order })
	var levels [][]optionValue
	for _, p := range ordered {
		if !no(p.Enabled) && c.matches(q, p) {
			levels = append(levels, p.Options)
		}
	}
	return levels
}

// matches evaluates a policy's conditions; one without any matches nobody.
func (c *config) matches(q netboot.Request, p policy) bool {
	var results []bool
	test := func(condition []string, match func(value string) bool) {
		if result, ok := evaluate(condition, match); ok {
			results = append(results, result)
		}
	}
	test(p.VendorClass, func(v string) bool { return c.isClass("Vendor", v, q.Vendor) })
	test(p.UserClass, func(v string) bool { return c.isClass("User", v, q.UserClass) })
	mac := strings.ReplaceAll(q.MAC.String(), ":", "")
	test(p.MacAddress, func(v string) bool { return wildcard(strings.ReplaceAll(strings.ToLower(v), "-", ""), mac) })
	if len(results) == 0 {
		return false
	}
	if strings.EqualFold(p.Condition, "Or") {
		return slices.Contains(results, true)
	}
	return !slices.Contains(results, false)
}

// evaluate reads a condition: EQ or NE, then values, perhaps the next
// comparator. One value of EQ must match, and none of NE. It is false for no
// condition.
func evaluate(condition []string, match func(string) bool) (result, ok bool) {
	comparator, matched, given := "", false, false
	result = true
	for _, word := range condition {
		for part := range strings.SplitSeq(word, ",") {
			switch part = strings.TrimSpace(part); strings.ToUpper(part) {
			case "":
			case "EQ", "NE":
				comparator = strings.ToUpper(part)
			default:
				ok = true
				if comparator == "NE" {
					result = result && !match(part)
				} else {
					given, matched = true, matched || match(part)
				}
			}
		}
	}
	return result && (!given || matched), ok
}

// isClass compares what a client sent with the data of a class; a name with an
// asterisk compares the beginning.
func (c *config) isClass(kind, name, sent string) bool {
	name, prefix := strings.CutSuffix(name, "*")
	for _, class := range c.Classes {
		if !strings.EqualFold(class.Type, kind) || !strings.EqualFold(class.Name, name) || sent == "" {
			continue
		}
		data := classData(class.Data)
		return sent == data || prefix && strings.HasPrefix(sent, data)
	}
	return false
}

// classData is the text of a class's data, which may be in hexadecimal.
func classData(s string) string {
	digits, ok := strings.CutPrefix(s, "0x")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return s
	}
	return string(raw)
}

// wildcard compares with an asterisk at either end.
func wildcard(pattern, s string) bool {
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, rest)
	}
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(s, rest)
	}
	return pattern == s
}
