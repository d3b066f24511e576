package modules

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// mostModule limits the size of an unpacked module: the largest with debugging
// information have about 100 MB. mostText limits the text files next to them.
const (
	mostModule = 512 << 20
	mostText   = 64 << 20
)

// readModule reads one .ko file. It holds the file in memory, because its
// tables refer to each other in both directions, but keeps only its names.
func readModule(e initramfs.Entry, rel string) (*Module, error) {
	m := &Module{Name: NameOf(rel), Path: rel}
	content, err := readPlain(e)
	if err != nil {
		return nil, m.errorf("%w", err)
	}
	if err := m.parse(content); err != nil {
		return nil, fault.Mark(m.errorf("%w", err), fault.Invalid)
	}
	return m, nil
}

// Unpack reads a module and decompresses it.
func Unpack(e initramfs.Entry) ([]byte, error) {
	content, err := readPlain(e)
	if err != nil {
		return nil, fault.Invalidf("reading the module %q of %s: %w", e.Path, e.Origin, err)
	}
	return content, nil
}

// readPlain reads and unpacks a file.
func readPlain(e initramfs.Entry) ([]byte, error) {
	if e.Open == nil {
		return nil, nil
	}
	packed, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	plain, err := tarball.Decompress(packed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	var content bytes.Buffer
	content.Grow(int(min(e.Size+bytes.MinRead, mostModule)))
	n, err := io.Copy(&content, io.LimitReader(plain, mostModule+1))
	if err == nil && n > mostModule {
		err = fmt.Errorf("it unpacks to more than %d bytes", mostModule)
	}
	return content.Bytes(), err
}

// parse reads the ELF file.
func (m *Module) parse(content []byte) error {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("it is not a module: %w", err)
	}
	info, err := sectionStrings(file, ".modinfo")
	if err != nil {
		return err
	}
	for _, field := range info {
		m.addInfo(field)
	}
	symbols, err := file.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return fmt.Errorf("reading its symbols: %w", err)
	}
	return m.addSymbols(file, symbols)
}

// addInfo adds one "key=value" of .modinfo.
func (m *Module) addInfo(field string) {
	key, value, _ := strings.Cut(field, "=")
	switch key {
	case "alias":
		m.Aliases = append(m.Aliases, value)
	case "softdep":
		m.SoftDeps = append(m.SoftDeps, value)
	case "weakdep":
		m.WeakDeps = append(m.WeakDeps, value)
	case "firmware":
		m.Firmware = append(m.Firmware, value)
	case "description":
		m.Description = value
	case "vermagic":
		m.Vermagic = value
	case "license":
		m.License = value
	case "version":
		m.Version = value
	case "depends":
		m.Requires = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
	}
}

// addSymbols stores the symbols that the module exports and needs. A kernel
// with CONFIG_MODVERSIONS marks each export by a symbol __crc_NAME. Without it
// the names are in the section __ksymtab_strings.
func (m *Module) addSymbols(file *elf.File, symbols []elf.Symbol) (err error) {
	for _, sym := range symbols {
		if name, found := strings.CutPrefix(sym.Name, "__crc_"); found {
			m.exports = append(m.exports, name)
		}
		if sym.Section == elf.SHN_UNDEF && sym.Name != "" {
			m.needs = append(m.needs, sym.Name)
		}
	}
	if len(m.exports) == 0 {
		m.exports, err = sectionStrings(file, "__ksymtab_strings")
	}
	return err
}

// sectionStrings returns the NUL-terminated strings of a section. A missing
// section has none.
func sectionStrings(file *elf.File, name string) ([]string, error) {
	section := file.Section(name)
	if section == nil || section.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("reading its section %s: %w", name, err)
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == 0 }), nil
}

// readText reads a text file of the tree. A missing file counts as empty.
func readText(t *initramfs.Tree, name string) ([]byte, error) {
	e, ok := t.Lookup(name)
	if !ok || e.Type != initramfs.Regular || e.Open == nil {
		return nil, nil
	}
	content, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("opening %q of %s: %w", name, e.Origin, err)
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, mostText+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q of %s: %w", name, e.Origin, err)
	}
	if len(text) > mostText {
		return nil, fault.Invalidf("reading %q of %s: it has more than %d bytes", name, e.Origin, mostText)
	}
	return text, nil
}

// builtinField is one line of modules.builtin.modinfo.
type builtinField struct {
	module string
	text   string // "key=value"
}

// readBuiltin reads the lists of built-in modules: modules.builtin has one path
// per line, modules.builtin.modinfo has NUL-terminated "module.key=value".
func (s *Set) readBuiltin(t *initramfs.Tree) error {
	list, err := readText(t, Root(s.Release)+"/modules.builtin")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); line != "" {
			s.Builtin = append(s.Builtin, NameOf(line))
		}
	}
	info, err := readText(t, Root(s.Release)+"/modules.builtin.modinfo")
	if err != nil {
		return err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if name, text, found := strings.Cut(field, "."); found {
			s.builtinFields = append(s.builtinFields, builtinField{name, text})
		}
	}
	return nil
}
