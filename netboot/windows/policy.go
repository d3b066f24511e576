package windows

import (
	"encoding/hex"
	"slices"
	"strings"

	"hookbuild/netboot"
)

// matching returns the options of the policies that a client matches, in the order
// of the policies.
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

// matches evaluates the conditions of a policy. A policy without any matches no
// client.
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

// evaluate evaluates a condition: EQ or NE, values, and possibly the next
// comparator. At least one value of EQ must match, and no value of NE. It reports
// false for text that is not a condition.
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

// isClass compares the value that a client sent with the data of a class. For a name
// with an asterisk it compares the beginning.
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

// classData returns the text of a class's data, which may be in hexadecimal.
func classData(s string) string {
	digits, ok := strings.CutPrefix(s, "0x")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return s
	}
	return string(raw)
}

// wildcard compares text with a pattern that may have an asterisk at either end.
func wildcard(pattern, s string) bool {
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, rest)
	}
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(s, rest)
	}
	return pattern == s
}
