package bundles

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
)

// The size limits of an images.txt.
const (
	maxListLine  = 4096
	maxListLines = 10_000
)

// List is the content of an images.txt, the list of images for Hook's older tools. A
// line has the form
//
//	<source> [<new name> [true]]
//
// with one or more spaces as separators. The image from source also gets the new
// name and, with "true", does not have the name of its source. ReadList ignores empty
// lines and those that begin with #. Older tools do not, so Write writes none.
type List []Line

// Line is one line of a [List].
type Line struct {
	// Source is a reference, or a form that names a file ("oci:DIR").
	Source string
	// Name is an additional name at boot, or "".
	Name string
	// RemoveSource removes the name of the source.
	RemoveSource bool
	// Origin is the file and line number, for messages.
	Origin string
}

// ReadList reads an images.txt. Origin names it in errors.
func ReadList(r io.Reader, origin string) (List, error) {
	l, err := readList(r, origin)
	if err != nil {
		return nil, fault.Invalidf("reading the list of images %w", err)
	}
	return l, nil
}

func readList(r io.Reader, origin string) (List, error) {
	var l List
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxListLine)
	number := 0
	for ; lines.Scan(); number++ {
		at := fmt.Sprintf("%s:%d", origin, number+1)
		if number == maxListLines {
			return nil, fmt.Errorf("%q: it has more than %d lines; check that it is a list of images", at, maxListLines)
		}
		text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if len(l) == 0 && strings.HasPrefix(text, "<") {
			return nil, fmt.Errorf("%q: it is an HTML or XML page, not a list of images; download the file itself", origin)
		}
		line, err := parseLine(text)
		if err != nil && filetype.Line(text) == filetype.CSV { // its passwords must not be shown
			return nil, fmt.Errorf("%q: it seems to be %s, not a list of images", at, filetype.CSV)
		}
		if err != nil && strings.ContainsAny(text, ",;") { // the same, of a list with fewer values
			return nil, fmt.Errorf("%q: the line has a comma or semicolon, which no image's name has; write <source> [<new name> [true]]", at)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", at, err)
		}
		line.Origin = at
		l = append(l, line)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("\"%s:%d\": the line has more than %d bytes; check that the file is a list of images", origin, number+1, maxListLine)
	}
	if lines.Err() != nil {
		return nil, fmt.Errorf("%q: %w", origin, lines.Err())
	}
	if len(l) == 0 {
		return nil, fmt.Errorf("%q: it names no images; write one on each line: <source> [<new name> [true]]", origin)
	}
	return l, nil
}

func parseLine(text string) (Line, error) {
	fields := strings.Fields(text)
	if len(fields) > 3 {
		return Line{}, fmt.Errorf("the line has %d words; write <source> [<new name> [true]]", len(fields))
	}
	line := Line{Source: fields[0]}
	_, digest, err := splitSource(line.Source)
	if err != nil {
		return Line{}, err
	}
	if len(fields) == 1 {
		if digest != "" && !hasTag(line.Source) {
			return Line{}, fmt.Errorf("%q has a digest but no tag, so the image would have no name at boot; write a new name after it", line.Source)
		}
		return line, nil
	}
	line.Name = fields[1]
	if _, err := name.NewTag(line.Name); err != nil {
		return Line{}, fmt.Errorf("new name %q: %w; write it as host/repository:tag", line.Name, err)
	}
	if len(fields) == 3 {
		line.RemoveSource, err = parseRemove(fields[2])
	}
	return line, err
}

func parseRemove(word string) (bool, error) {
	switch word {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("the third column is %q; write true to remove the source's name, or leave it out", word)
}

// hasTag reports whether a reference has a tag, with or without a digest.
func hasTag(ref string) bool {
	ref, _, _ = strings.Cut(ref, "@")
	return withTag(ref) == ref
}

// Images returns the images of the list, one for each source, in the order of their
// first lines.
func (l List) Images() ([]Image, error) {
	var images []Image
	for _, source := range l.sources() {
		img, err := l.image(source)
		if err != nil {
			return nil, fault.Mark(err, fault.Invalid)
		}
		if len(img.EmbedNames) == 0 && IsLocal(source) {
			return nil, fault.Invalidf("%s: an image that is not in a registry needs the name that actions ask for: %s=127.0.0.1/embedded/NAME", img.Key, source)
		}
		images = append(images, img)
	}
	if err := checkNames(images); err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	return images, nil
}

func (l List) sources() []string {
	var all []string
	for _, line := range l {
		if !slices.Contains(all, line.Source) {
			all = append(all, line.Source)
		}
	}
	return all
}

// image returns the image of one source, from all of its lines. The source's name is
// kept unless one of them removes it.
func (l List) image(source string) (Image, error) {
	img := Image{}
	keep := !IsLocal(source)
	for _, line := range l {
		if line.Source != source {
			continue
		}
		if img.Key == "" {
			img.Key = line.Origin
		}
		if n := line.Name; n != "" && !slices.Contains(img.EmbedNames, withTag(n)) {
			img.EmbedNames = append(img.EmbedNames, withTag(n))
		}
		keep = keep && !line.RemoveSource
	}
	var err error
	if img.Source, img.Digest, err = splitSource(source); img.Digest != "" {
		img.Pinned = source
	}
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", img.Key, err)
	}
	if keep && (img.Digest == "" || hasTag(source)) && !img.KeepsSource() {
		img.EmbedNames = append(img.EmbedNames, withTag(img.Source))
	}
	img.Name = shortName(img)
	return img, nil
}

// shortName returns the name of an image from a list in messages.
func shortName(img Image) string {
	if len(img.EmbedNames) > 0 {
		return baseName(img.EmbedNames[0])
	}
	return img.Source
}

// ListOf returns the list that embeds these images. With pinned, the sources have
// their digests, which hookbuild checks and older tools do not accept. A source that
// had a digest in a list keeps it in any case.
func ListOf(images []Image, pinned bool) List {
	var l List
	for _, img := range images {
		source := img.Source
		switch {
		case img.Pinned != "":
			source = img.Pinned
		case pinned:
			source = img.Reference()
		}
		// Only the last line of a source removes its name, because older tools
		// process the list line by line.
		lines := List{}
		for _, n := range img.EmbedNames {
			if n != withTag(img.Source) {
				lines = append(lines, Line{Source: source, Name: n, Origin: img.Key})
			}
		}
		if len(lines) == 0 {
			lines = List{{Source: source, Origin: img.Key}}
		} else {
			lines[len(lines)-1].RemoveSource = !img.KeepsSource()
		}
		l = append(l, lines...)
	}
	return l
}

// Write writes the list in a form that Hook's older tools also read.
func (l List) Write(w io.Writer) error {
	for _, line := range l {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("writing the list of images: %w", err)
		}
	}
	return nil
}

func (l Line) String() string {
	text := l.Source
	if l.Name != "" {
		text += " " + l.Name
	}
	if l.RemoveSource {
		text += " true"
	}
	return text
}
