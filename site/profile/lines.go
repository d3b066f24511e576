package profile

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Lines maps the settings of a file, such as "dns.servers[1]", to their lines.
type Lines map[string]int

// Of returns the line of a setting, 0 if it is not known.
func (l Lines) Of(setting string) int { return l[setting] }

// LinesOf returns the lines of what a file sets. What an alias stands for is not
// followed. The text is one that was decoded.
func LinesOf(text []byte) (Lines, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	lines := Lines{}
	for _, document := range root.Content {
		lines.add(document, "")
	}
	return lines, nil
}

func (l Lines) add(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := n.Content[i].Value
			if path != "" {
				below = path + "." + below
			}
			l[below] = n.Content[i].Line
			l.add(n.Content[i+1], below)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			below := fmt.Sprintf("%s[%d]", path, i)
			l[below] = item.Line
			l.add(item, below)
		}
	}
}
