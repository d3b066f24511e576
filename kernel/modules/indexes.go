package modules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
)

// indexFile is a file that depmod writes and the function that makes its
// content.
type indexFile struct {
	name string
	make func(*Set) []byte
}

func indexFiles() []indexFile {
	return []indexFile{
		{"modules.dep", (*Set).depText},
		{"modules.dep.bin", (*Set).depIndex},
		{"modules.alias", (*Set).aliasText},
		{"modules.alias.bin", (*Set).aliasIndex},
		{"modules.softdep", (*Set).softdepText},
		{"modules.weakdep", (*Set).weakdepText},
		{"modules.symbols", (*Set).symbolText},
		{"modules.symbols.bin", (*Set).symbolIndex},
		{"modules.builtin.bin", (*Set).builtinIndex},
		{"modules.builtin.alias.bin", (*Set).builtinAliasIndex},
		{"modules.devname", (*Set).devnameText},
	}
}

// WriteIndexes writes depmod's files into the tree and replaces existing ones.
// Their mtime is that of the modules' directory.
func (s *Set) WriteIndexes(t *initramfs.Tree) error {
	dir, ok := t.Lookup(Root(s.Release))
	if !ok {
		return fmt.Errorf("writing the indexes of the modules: the tree has no directory %q", Root(s.Release))
	}
	for _, f := range indexFiles() {
		e := initramfs.BytesFile(dir.Path+"/"+f.name, f.make(s), dir.ModTime)
		e.Origin = "the module index of " + s.Release
		if err := t.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// depLine returns "PATH: PATH..." with all dependencies.
func (m *Module) depLine() string {
	line := m.Path + ":"
	for _, d := range m.Dependencies() {
		line += " " + d.Path
	}
	return line
}

func (s *Set) depText() []byte {
	var text strings.Builder
	for _, m := range s.Modules {
		text.WriteString(m.depLine() + "\n")
	}
	return []byte(text.String())
}

func (s *Set) depIndex() []byte {
	root := &trieNode{}
	for _, m := range s.Modules {
		root.insert(m.Name, m.depLine(), m.index)
	}
	return root.encode()
}

func (s *Set) aliasText() []byte {
	return s.lines("# Aliases extracted from modules themselves.\n", func(m *Module) []string {
		return formatAll("alias %[2]s %[1]s\n", m.Name, m.Aliases)
	})
}

func (s *Set) softdepText() []byte {
	return s.lines("# Soft dependencies extracted from modules themselves.\n", func(m *Module) []string {
		return formatAll("softdep %s %s\n", m.Name, m.SoftDeps)
	})
}

func (s *Set) weakdepText() []byte {
	return s.lines("# Weak dependencies extracted from modules themselves.\n", func(m *Module) []string {
		return formatAll("weakdep %s %s\n", m.Name, m.WeakDeps)
	})
}

func (s *Set) lines(head string, of func(*Module) []string) []byte {
	var text strings.Builder
	text.WriteString(head)
	for _, m := range s.Modules {
		for _, line := range of(m) {
			text.WriteString(line)
		}
	}
	return []byte(text.String())
}

func formatAll(format, name string, values []string) []string {
	lines := make([]string, len(values))
	for i, v := range values {
		lines[i] = fmt.Sprintf(format, name, v)
	}
	return lines
}

func (s *Set) aliasIndex() []byte {
	root := &trieNode{}
	for _, m := range s.Modules {
		for _, a := range m.Aliases {
			if normal, ok := normalizeAlias(a); ok {
				root.insert(normal, m.Name, m.index)
			}
		}
	}
	return root.encode()
}

// normalizeAlias replaces dashes by underscores, as modprobe does with the name
// that it looks up. Characters within brackets are ranges and stay. It returns
// false for unmatched brackets, since nothing could match such an alias.
func normalizeAlias(alias string) (string, bool) {
	out := []byte(alias)
	inside := false
	for i, b := range out {
		switch {
		case inside:
			inside = b != ']'
		case b == '[':
			inside = true
		case b == ']':
			return "", false
		case b == '-':
			out[i] = '_'
		}
	}
	return string(out), !inside
}

// symbolText is sorted, unlike depmod's own order, which is that of its hash
// table.
func (s *Set) symbolText() []byte {
	var text strings.Builder
	text.WriteString("# Aliases for symbols, used by symbol_request().\n")
	for _, symbol := range slices.Sorted(maps.Keys(s.owners)) {
		fmt.Fprintf(&text, "alias symbol:%s %s\n", symbol, s.owners[symbol].Name)
	}
	return []byte(text.String())
}

func (s *Set) symbolIndex() []byte {
	root := &trieNode{}
	for _, symbol := range slices.Sorted(maps.Keys(s.owners)) {
		root.insert("symbol:"+symbol, s.owners[symbol].Name, s.owners[symbol].index)
	}
	return root.encode()
}

func (s *Set) builtinIndex() []byte {
	root := &trieNode{}
	for _, name := range s.Builtin {
		root.insert(name, "", 0)
	}
	return root.encode()
}

func (s *Set) builtinAliasIndex() []byte {
	root := &trieNode{}
	for _, f := range s.builtinFields {
		if value, found := strings.CutPrefix(f.text, "alias="); found {
			if normal, ok := normalizeAlias(value); ok {
				root.insert(normal, f.module, 0)
			}
		}
	}
	return root.encode()
}

// devnameText lists the device nodes whose opening loads a module: those with
// an alias "devname:NAME" and one "char-major-M-N" or "block-major-M-N".
func (s *Set) devnameText() []byte {
	var text strings.Builder
	for _, m := range s.Modules {
		line, ok := m.devname()
		if !ok {
			continue
		}
		if text.Len() == 0 {
			text.WriteString("# Device nodes to trigger on-demand module loading.\n")
		}
		text.WriteString(line)
	}
	return []byte(text.String())
}

func (m *Module) devname() (string, bool) {
	name, node := "", ""
	for _, a := range m.Aliases {
		var major, minor uint
		if found, ok := strings.CutPrefix(a, "devname:"); ok {
			name = found
		} else if n, _ := fmt.Sscanf(a, "char-major-%d-%d", &major, &minor); n == 2 {
			node = fmt.Sprintf("c%d:%d", major, minor)
		} else if n, _ := fmt.Sscanf(a, "block-major-%d-%d", &major, &minor); n == 2 {
			node = fmt.Sprintf("b%d:%d", major, minor)
		}
		if name != "" && node != "" {
			return fmt.Sprintf("%s %s %s\n", m.Name, name, node), true
		}
	}
	return "", false
}
