package hardware

import "strings"

// The limits of RFC 1123 names and of Kubernetes labels.
const (
	mostLabel = 63
	mostName  = 253
)

// hostname checks for a lower-case RFC 1123 name, as EKS Anywhere does.
func (c cell) hostname() string {
	if c.empty() {
		return ""
	}
	if len(c.text) > mostName {
		c.fault("the name has %d characters, but may have only %d", len(c.text), mostName)
		return ""
	}
	for label := range strings.SplitSeq(c.text, ".") {
		if why := badLabel(label); why != "" {
			c.fault("%q is not a host name: %s", c.text, why)
			return ""
		}
	}
	if strings.Trim(c.text, "0123456789.") == "" {
		c.fault("%q would be read as an address: a host name needs a letter", c.text)
		return ""
	}
	return c.text
}

// badLabel returns the problem of one label of a host name, or "".
func badLabel(label string) string {
	switch {
	case label == "":
		return "a part between its dots is empty"
	case len(label) > mostLabel:
		return "a part has more than 63 characters"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a part begins or ends with a hyphen"
	case strings.ToLower(label) != label:
		return "it has capital letters"
	case !only(label, lower+digits+"-"):
		return "only letters, digits, hyphens and dots are allowed"
	}
	return ""
}

// labels parses "key=value|key=value" by Kubernetes' rules. It may be empty.
func (c cell) labels() map[string]string {
	labels := map[string]string{}
	if c.text == "" {
		return labels
	}
	for part := range strings.SplitSeq(c.text, "|") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
			c.fault("the label %q has no =: write key=value, and separate several by |", part)
		case !labelKey(key):
			c.fault("the label's key %q is not a valid key of Kubernetes", key)
		case !labelName(value) && value != "":
			c.fault("the label's value %q is not a valid value of Kubernetes: use at most 63 letters, digits, - _ . with a letter or digit at both ends", value)
		default:
			if _, twice := labels[key]; twice {
				c.fault("the label %q is listed twice", key)
			}
			labels[key] = value
		}
	}
	return labels
}

// labelKey reports whether s is [prefix/]name, where the prefix is a DNS name.
func labelKey(key string) bool {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		return labelName(key)
	}
	if len(prefix) > mostName {
		return false
	}
	for label := range strings.SplitSeq(prefix, ".") {
		if badLabel(label) != "" {
			return false
		}
	}
	return labelName(name)
}

func labelName(s string) bool {
	return s != "" && len(s) <= mostLabel && only(s, lower+upper+digits+"._-") &&
		only(s[:1]+s[len(s)-1:], lower+upper+digits)
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// only reports whether s has only characters of set.
func only(s, set string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune(set, c) }) < 0
}
