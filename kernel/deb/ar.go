package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hookbuild/internal/filetype"
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	// mostMembers limits the number of members: a package has three, or five
	// with signatures.
	mostMembers = 64
)

// member is one file of an ar archive.
type member struct {
	name         string
	offset, size int64
}

// readAr lists the members of the archive in r. A member that reaches beyond
// the end is an error: the file is truncated.
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != arMagic {
		is, err := filetype.Describe(r)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("it seems to be %s, %w; name a .deb file, or fetch it again", is, errFormat)
	}
	var members []member
	for at := int64(len(arMagic)); at < size; {
		if len(members) == mostMembers {
			return nil, fmt.Errorf("it has more than %d members: %w", mostMembers, errFormat)
		}
		m, err := readMember(r, at)
		if err != nil {
			return nil, err
		}
		if m.size > size-m.offset {
			return nil, fmt.Errorf("%s should have %d bytes but has %d, %w; fetch the file again", m.name, m.size, size-m.offset, errFormat)
		}
		members = append(members, m)
		at = m.offset + m.size + m.size%2
	}
	return members, nil
}

// readMember reads the header at offset at: name 16, time 12, owner 6, group
// 6, mode 8, size 10 bytes, all padded with spaces, then "`\n".
func readMember(r io.ReaderAt, at int64) (member, error) {
	header := make([]byte, arHeaderSize)
	if _, err := r.ReadAt(header, at); err != nil {
		return member{}, fmt.Errorf("it ends inside a member's header at byte %d, %w; fetch the file again", at, errFormat)
	}
	if !bytes.Equal(header[58:], []byte("`\n")) {
		return member{}, fmt.Errorf("the member header at byte %d is damaged: %w", at, errFormat)
	}
	size, err := strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return member{}, fmt.Errorf("the member at byte %d has the size %q: %w", at, header[48:58], errFormat)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
	return member{name: name, offset: at + arHeaderSize, size: size}, nil
}
