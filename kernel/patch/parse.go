package patch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parser reads a patch line by line.
type parser struct {
	lines []string // with their line ends
	at    int      // the number of lines that were read
}

// peek returns the line that is n lines ahead, without its line end.
func (p *parser) peek(n int) string {
	if p.at+n >= len(p.lines) {
		return ""
	}
	return strings.TrimRight(p.lines[p.at+n], "\r\n")
}

func (p *parser) more() bool { return p.at < len(p.lines) }

// errorf returns an error about the next line.
func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{p.at + 1}, args...)...)
}

// files reads the changes of all files and skips the text between them.
func (p *parser) files() ([]File, error) {
	var all []File
	for p.more() {
		switch line := p.peek(0); {
		case strings.HasPrefix(line, "diff --git "):
			f, err := p.gitFile()
			if err != nil {
				return nil, err
			}
			if f.changes() {
				all = append(all, f)
			}
		case p.atHeader():
			f := File{line: p.at + 1}
			if err := p.body(&f); err != nil {
				return nil, err
			}
			all = append(all, f)
		case strings.HasPrefix(line, "diff --cc "), strings.HasPrefix(line, "diff --combined "):
			return nil, p.errorf("it is the diff of a merge, which cannot be applied")
		case strings.HasPrefix(line, "@@ -"):
			return nil, p.errorf("a change comes without the lines --- and +++ that name its file")
		default:
			p.at++
		}
	}
	return all, nil
}

// changes reports whether the file is changed in any way.
func (f File) changes() bool {
	return len(f.hunks) > 0 || f.Old != f.New || f.Executable != nil
}

// atHeader reports whether the next lines name a file.
func (p *parser) atHeader() bool {
	return strings.HasPrefix(p.peek(0), "--- ") && strings.HasPrefix(p.peek(1), "+++ ")
}

// gitFile reads the change of a file that begins with git's header.
func (p *parser) gitFile() (File, error) {
	f := File{line: p.at + 1}
	header := p.peek(0)
	p.at++
	named := false
	for ; p.more() && !p.atHeader(); p.at++ {
		line := p.peek(0)
		known, err := f.extended(line)
		switch {
		case err != nil:
			return f, p.errorf("%w", err)
		case !known:
			return f, p.nameFrom(&f, header, named)
		}
		named = named || strings.HasPrefix(line, "rename ") || strings.HasPrefix(line, "copy ")
	}
	if !p.more() {
		return f, p.nameFrom(&f, header, named)
	}
	return f, p.body(&f)
}

// nameFrom sets the paths of a file without changed lines. Git names a renamed
// file in lines of their own, and any other one only in the header.
func (p *parser) nameFrom(f *File, header string, named bool) error {
	if named {
		return nil
	}
	name, err := headerPath(strings.TrimPrefix(header, "diff --git "))
	if err == nil {
		name, err = treePath(name)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", f.line, err)
	}
	for _, side := range []*string{&f.Old, &f.New} {
		if *side == gone {
			*side = ""
		} else {
			*side = name
		}
	}
	return nil
}

// headerPath returns the first of the two paths of git's header, "a/x b/x",
// which differ only in their first elements and may contain spaces.
func headerPath(text string) (string, error) {
	if strings.HasPrefix(text, `"`) {
		return firstPath(text)
	}
	half := len(text) / 2
	_, first, found := strings.Cut(text[:half], "/")
	_, second, _ := strings.Cut(text[half:], "/")
	if !found || first != second {
		return "", fmt.Errorf("the two paths in %q differ, but no line says that the file is renamed", text)
	}
	return text[:half], nil
}

// gone marks the missing path of a file whose name is not known yet.
const gone = "/dev/null"

// extended reads a line of git's header. It returns false for any other line.
func (f *File) extended(line string) (bool, error) {
	for prefix, take := range map[string]func(string) error{
		"old mode ":          func(string) error { return nil },
		"new mode ":          f.setMode,
		"deleted file mode ": func(string) error { f.New = gone; return nil },
		"new file mode ":     func(mode string) error { f.Old = gone; return f.setMode(mode) },
		"similarity index ":  func(string) error { return nil },
		"dissimilarity ":     func(string) error { return nil },
		"index ":             func(string) error { return nil },
		"rename from ":       func(name string) error { return setPath(&f.Old, name) },
		"rename to ":         func(name string) error { return setPath(&f.New, name) },
		"copy from ":         func(name string) error { f.Copy = true; return setPath(&f.Old, name) },
		"copy to ":           func(name string) error { f.Copy = true; return setPath(&f.New, name) },
		"GIT binary patch":   func(string) error { return errBinary },
		"Binary files ":      func(string) error { return errBinary },
	} {
		if rest, found := strings.CutPrefix(line, prefix); found {
			return true, take(rest)
		}
	}
	return false, nil
}

var errBinary = errors.New("it changes a binary file, which is not supported")

func (f *File) setMode(mode string) error {
	executable := false
	switch mode {
	case "100644":
	case "100755":
		executable = true
	default:
		return fmt.Errorf("it makes a file of mode %s; only files are supported, of mode 100644 or 100755", mode)
	}
	f.Executable = &executable
	return nil
}

// setPath sets a path of a rename or copy, which has no first element to leave
// out.
func setPath(to *string, name string) (err error) {
	if name, err = unquote(name); err == nil {
		*to, err = treePath("a/" + name)
	}
	return err
}

// body reads the lines --- and +++ and the hunks that follow.
func (p *parser) body(f *File) error {
	renamed := f.Old != f.New && f.Old != gone && f.New != gone
	for _, side := range []struct {
		prefix string
		path   *string
	}{{"--- ", &f.Old}, {"+++ ", &f.New}} {
		name, err := firstPath(strings.TrimPrefix(p.peek(0), side.prefix))
		switch {
		case err != nil:
			return p.errorf("%w", err)
		case name == gone:
			*side.path = ""
		case !renamed:
			if *side.path, err = treePath(name); err != nil {
				return p.errorf("%w", err)
			}
		}
		p.at++
	}
	if f.Old == "" && f.New == "" {
		return fmt.Errorf("line %d: it names no file but /dev/null", f.line)
	}
	if !renamed && f.Old != "" && f.New != "" {
		f.Old = f.New // diff -u names a backup here: a/x.c.orig
	}
	for strings.HasPrefix(p.peek(0), "@@ -") {
		h, err := p.hunk()
		if err != nil {
			return err
		}
		f.hunks = append(f.hunks, h)
	}
	if len(f.hunks) == 0 {
		return p.errorf("no change of %s follows; the change must begin with a line like @@ -1,3 +1,4 @@", f.path())
	}
	return nil
}

// path returns the file's path for messages.
func (f File) path() string {
	if f.New == "" {
		return f.Old
	}
	return f.New
}

// firstPath returns the path at the beginning of text, which git quotes if it has
// special characters. A path ends at a tab, after which diff writes a time, or,
// without one, at a space.
func firstPath(text string) (string, error) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", fmt.Errorf("the quotes of the path %s do not end", text)
		}
		return unquote(quoted)
	}
	if name, _, found := strings.Cut(text, "\t"); found {
		return name, nil
	}
	name, _, _ := strings.Cut(text, " ")
	return name, nil
}

func unquote(name string) (string, error) {
	if !strings.HasPrefix(name, `"`) {
		return name, nil
	}
	plain, err := strconv.Unquote(name)
	if err != nil {
		return "", fmt.Errorf("the path %s cannot be read", name)
	}
	return plain, nil
}

// hunk reads one change: its header and as many lines as the header says.
func (p *parser) hunk() (hunk, error) {
	h := hunk{line: p.at + 1, text: []string{p.peek(0)}}
	var err error
	if h.start, h.oldSize, h.newSize, err = ranges(p.peek(0)); err != nil {
		return h, p.errorf("%w", err)
	}
	p.at++
	for len(h.before) < h.oldSize || len(h.after) < h.newSize {
		if !p.more() {
			return h, p.errorf("the patch ends in the middle of a change; its lines are not all there")
		}
		if err := h.add(p.lines[p.at]); err != nil {
			return h, p.errorf("%w", err)
		}
		p.at++
	}
	if len(h.before) > h.oldSize || len(h.after) > h.newSize {
		return h, p.errorf("the change that begins in line %d has more lines than its header says", h.line)
	}
	if strings.HasPrefix(p.peek(0), `\`) {
		h.noNewline(p.lines[p.at-1])
		p.at++
	}
	return h, nil
}

// add adds a line of the hunk.
func (h *hunk) add(line string) error {
	h.text = append(h.text, strings.TrimRight(line, "\r\n"))
	switch text := line[1:]; line[0] {
	case ' ':
		h.before, h.after = append(h.before, text), append(h.after, text)
	case '-':
		h.before = append(h.before, text)
	case '+':
		h.after = append(h.after, text)
	case '\n', '\r': // mail programs remove the space of an empty line
		h.before, h.after = append(h.before, line), append(h.after, line)
	case '\\':
		h.noNewline(h.text[len(h.text)-2])
	default:
		return fmt.Errorf("the line %q is not part of a change: it must begin with a space, - or +", strings.TrimRight(line, "\r\n"))
	}
	return nil
}

// noNewline removes the line end of the line before "\ No newline at end of
// file".
func (h *hunk) noNewline(previous string) {
	trim := func(lines []string) {
		if last := len(lines) - 1; last >= 0 {
			lines[last] = strings.TrimSuffix(lines[last], "\n")
		}
	}
	if !strings.HasPrefix(previous, "+") {
		trim(h.before)
	}
	if !strings.HasPrefix(previous, "-") {
		trim(h.after)
	}
}

// mostLines limits the numbers in a hunk's header.
const mostLines = 1 << 26

// ranges reads a hunk's header: "@@ -12,7 +12,8 @@ function".
func ranges(line string) (start, oldSize, newSize int, err error) {
	fields := strings.Fields(line)
	bad := fmt.Errorf("%q is not the beginning of a change like @@ -1,3 +1,4 @@", line)
	if len(fields) < 4 || fields[0] != "@@" || fields[3] != "@@" {
		return 0, 0, 0, bad
	}
	start, oldSize, ok := lineRange(fields[1], "-")
	_, newSize, okNew := lineRange(fields[2], "+")
	if !ok || !okNew || oldSize+newSize == 0 {
		return 0, 0, 0, bad
	}
	return start, oldSize, newSize, nil
}

func lineRange(text, sign string) (start, size int, ok bool) {
	text, found := strings.CutPrefix(text, sign)
	first, count, hasCount := strings.Cut(text, ",")
	start, err := strconv.Atoi(first)
	if size = 1; err == nil && hasCount {
		size, err = strconv.Atoi(count)
	}
	return start, size, found && err == nil && start >= 0 && size >= 0 && start <= mostLines && size <= mostLines
}
