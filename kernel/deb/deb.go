// Package deb reads Debian packages natively: the ar archive, the control
// file's fields and the data archive. It knows nothing of kernels. The formats
// are those of deb(5) and deb-control(5), version 2.0; signatures (debsigs) are
// left out on purpose, since Debian signs its indexes and not its packages.
package deb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/fault"
)

// ErrFormat is wrapped by the errors about files that are no whole .deb.
var ErrFormat = errors.New("not a complete Debian package")

// mostControl bounds the unpacked control archive's part that is read: a real
// one has tens of kilobytes.
const mostControl = 64 << 20

// Package is an opened .deb.
type Package struct {
	// Fields are those of the control file: "Package", "Version",
	// "Architecture", "Depends" and so on; continued lines are joined by "\n".
	Fields map[string]string
	data   member
	source io.ReaderAt
}

// Open reads the outer structure and the control file of the package of size
// bytes in r. Origin names the package in errors.
func Open(r io.ReaderAt, size int64, origin string) (*Package, error) {
	p, err := open(r, size)
	if err != nil {
		return nil, fault.Invalidf("reading the package %q: %w", origin, err)
	}
	return p, nil
}

func open(r io.ReaderAt, size int64) (*Package, error) {
	members, err := readAr(r, size)
	if err != nil {
		return nil, err
	}
	control, data, err := pick(members)
	if err != nil {
		return nil, err
	}
	p := &Package{data: data, source: r}
	p.Fields, err = readControl(io.NewSectionReader(r, control.offset, control.size), control.name)
	return p, err
}

// pick finds the two archives among the members and refuses a file whose
// format is newer than what is understood here.
func pick(members []member) (control, data member, err error) {
	if len(members) == 0 || members[0].name != "debian-binary" {
		return control, data, fmt.Errorf("it has no debian-binary member: %w", ErrFormat)
	}
	for _, m := range members {
		switch {
		case m.name == "control.tar" || strings.HasPrefix(m.name, "control.tar."):
			control = m
		case m.name == "data.tar" || strings.HasPrefix(m.name, "data.tar."):
			data = m
		}
	}
	switch {
	case control.name == "":
		return control, data, fmt.Errorf("it has no control.tar: %w", ErrFormat)
	case data.name == "":
		return control, data, fmt.Errorf("it has no data.tar: %w", ErrFormat)
	}
	return control, data, nil
}

// Data streams the uncompressed data archive. Reading it to its end verifies
// the compression's own checksum.
func (p *Package) Data() (io.ReadCloser, error) {
	section := io.NewSectionReader(p.source, p.data.offset, p.data.size)
	if blocks, err := readXZIndex(section, p.data.size); err == nil {
		return newXZReader(section, blocks), nil
	}
	return decompress(section, p.data.name)
}

// Name is "linux-image-6.1.0-1-amd64 6.1.4-1 (amd64)": how messages name the
// package.
func (p *Package) Name() string {
	return fmt.Sprintf("%s %s (%s)", p.Fields["Package"], p.Fields["Version"], p.Fields["Architecture"])
}

// Depends lists the names of the packages in the fields Pre-Depends and
// Depends, without versions and architectures, alternatives included, in order.
func (p *Package) Depends() []string {
	var names []string
	for _, field := range []string{"Pre-Depends", "Depends"} {
		for clause := range strings.FieldsFuncSeq(p.Fields[field], func(r rune) bool { return r == ',' || r == '|' }) {
			name, _, _ := strings.Cut(strings.TrimSpace(clause), " ")
			name, _, _ = strings.Cut(name, "(")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// parseFields reads one paragraph of "Field: value" lines.
func parseFields(text []byte) (map[string]string, error) {
	fields := map[string]string{}
	last := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += "\n" + strings.TrimSpace(line)
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("its control file has the line %q: %w", line, ErrFormat)
		}
		last = key
		fields[key] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading its control file: %w", err)
	}
	if fields["Package"] == "" {
		return nil, fmt.Errorf("its control file names no package: %w", ErrFormat)
	}
	return fields, nil
}
