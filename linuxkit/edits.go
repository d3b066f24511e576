package linuxkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/initramfs"
)

// maxEdited is the most bytes that a file to edit may have.
const maxEdited = 4 << 20

// editedEntry returns the file of an image that f edits, or an empty one when no
// image has it and f is optional.
func (l *layout) editedEntry(f *File) (initramfs.Entry, error) {
	e, ok := lookup(&l.tree, cleanFilePath(f.Path))
	if ok {
		name := e.Path
		e, ok = l.tree.File(name)
		e.Path = name
	}
	switch {
	case !ok && f.Optional:
		e = initramfs.Entry{Path: cleanFilePath(f.Path), Type: initramfs.Regular, Mode: 0o644}
		setContent(&e, nil)
	case !ok:
		return e, invalid("neither the document nor an image has this file to append to or replace text in; give contents for a new one")
	case e.Type != initramfs.Regular:
		return e, invalid("it is not a regular file in the image, so its text cannot be changed; set contents to replace it")
	}
	e.Origin = ""
	return e, nil
}

// edit makes the changes in e's content.
func edit(e *initramfs.Entry, edits []FileEdit) error {
	if len(edits) == 0 {
		return nil
	}
	content, err := readEntry(*e)
	if err != nil {
		return err
	}
	for _, change := range edits {
		if change.Text == "" {
			content = append(content, change.Append...)
			continue
		}
		if !change.Optional && !bytes.Contains(content, []byte(change.Text)) {
			return invalid("it does not contain the text %q to replace", change.Text)
		}
		content = bytes.ReplaceAll(content, []byte(change.Text), []byte(change.With))
	}
	setContent(e, content)
	return nil
}

func readEntry(e initramfs.Entry) ([]byte, error) {
	if e.Size > maxEdited {
		return nil, invalid("it has %d bytes; a file to change the text of has at most %d", e.Size, maxEdited)
	}
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("reading its content: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxEdited+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("reading its content: %w", err)
	}
	return content, nil
}

// EditedElsewhere lists the files whose text is changed and that the document does not
// have itself: an image must have them, which only assembling shows.
func (d *Document) EditedElsewhere() []string {
	var all []string
	for _, f := range d.Files {
		if len(f.Edits) > 0 && !f.Optional && !f.hasContent() {
			all = append(all, "/"+strings.TrimPrefix(f.Path, "/"))
		}
	}
	return all
}
