package lock

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/words"
)

// MarshalYAML writes a single value without a list.
func (v Values) MarshalYAML() (any, error) {
	if len(v) == 1 {
		return v[0], nil
	}
	return []string(v), nil
}

// UnmarshalYAML reads a value or a list of them.
func (v *Values) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		*v = Values{n.Value}
		return nil
	case yaml.SequenceNode:
		return n.Decode((*[]string)(v))
	}
	return fmt.Errorf("line %d: an option has a value or a list of values", n.Line)
}

// Equal reports whether two options have the same values in the same order.
func (v Values) Equal(w Values) bool { return v.String() == w.String() }

// String shows the values.
func (v Values) String() string {
	if len(v) == 1 {
		return v[0]
	}
	return fmt.Sprint([]string(v))
}

func humanSize(bytes string) string {
	n, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return ""
	}
	return words.Bytes(n)
}

var (
	_ yaml.Marshaler   = Values{}
	_ yaml.Unmarshaler = (*Values)(nil)
)
