// Package deb reads Debian packages natively: the ar archive, the control
// file's fields and the data archive. It is independent of kernels. The formats
// are those of deb(5) and deb-control(5), version 2.0. Signatures (debsigs) are
// not supported on purpose: Debian signs its indexes, not its packages.
package deb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
)

// errFormat is wrapped by the errors about files that are not complete .deb
// packages.
var errFormat = errors.New("not a complete Debian package")

// mostControl limits how much of the unpacked control archive is read; a real
// one has tens of kilobytes.
const mostControl = 64 << 20

// Package is an opened .deb.
type Package struct {
	// Fields holds the fields of the control file: "Package", "Version",
	// "Architecture", "Depends" and so on. Continued lines are joined by "\n".
	Fields map[string]string
	data   member
	source io.ReaderAt
}

// Open reads the outer structure and the control file of the package of size
// bytes in r. Errors call the package origin.
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

// pick returns the two archives among the members. It rejects a file whose
// format is too new.
func pick(members []member) (control, data member, err error) {
	if len(members) == 0 || members[0].name != "debian-binary" {
		return control, data, fmt.Errorf("it has no debian-binary member: %w", errFormat)
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
		return control, data, fmt.Errorf("it has no control.tar: %w", errFormat)
	case data.name == "":
		return control, data, fmt.Errorf("it has no data.tar: %w", errFormat)
	}
	return control, data, nil
}

// Data returns a reader of the uncompressed data archive. Reading it to its end
// verifies the checksum of the compression. It fails with the context's error once
// ctx ends.
func (p *Package) Data(ctx context.Context) (io.ReadCloser, error) {
	section := io.NewSectionReader(ctxio.ReaderAt(ctx, p.source), p.data.offset, p.data.size)
	if blocks, err := readXZIndex(section, p.data.size); err == nil {
		return newXZReader(section, blocks), nil
	}
	return decompress(section, p.data.name)
}

// Name returns the package's name for messages: "linux-image-6.1.0-1-amd64
// 6.1.4-1 (amd64)".
func (p *Package) Name() string {
	return fmt.Sprintf("%s %s (%s)", p.Fields["Package"], p.Fields["Version"], p.Fields["Architecture"])
}

// Depends returns the names of the packages in the fields Pre-Depends and
// Depends in order, including alternatives, without versions and architectures.
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
			return nil, fmt.Errorf("its control file has the line %q: %w", line, errFormat)
		}
		last = key
		fields[key] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading its control file: %w", err)
	}
	if fields["Package"] == "" {
		return nil, fmt.Errorf("its control file names no package: %w", errFormat)
	}
	return fields, nil
}
