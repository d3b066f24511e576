package site

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/site/profile"
)

// Name is the file's name where it is looked for.
const Name = "hookbuild.yaml"

// most is the most bytes that a file may have.
const most = 1 << 20

// File is a hookbuild.yaml that was read and checked.
type File struct {
	Config
	// Path is where it is. Its paths are relative to Dir.
	Path, Dir string

	lines map[string]int // of the keys that have a value, by their path
}

// Line returns the line of a key, 0 if the file does not have it.
func (f *File) Line(key string) int { return f.lines[key] }

// Find returns the path of the file in dir or in the nearest parent of it that
// has one, "" if none has. The path is relative if dir is. A file in a directory
// that everyone may write to, such as /tmp, counts only if it belongs to this
// user or to root: others could choose the servers and images of a build by it.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", Name, err)
	}
	for at := dir; ; at, abs = filepath.Join(at, ".."), filepath.Dir(abs) {
		path := filepath.Join(at, Name)
		switch info, err := os.Stat(path); {
		case err == nil && info.Mode().IsRegular():
			return path, trusted(path, at, info)
		case err == nil && !info.IsDir():
			return "", fault.Invalidf("looking for %s: %q is not a regular file", Name, path)
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return "", fmt.Errorf("looking for %s: %w", Name, err)
		}
		if abs == filepath.Dir(abs) {
			return "", nil
		}
	}
}

func trusted(path, dir string, info fs.FileInfo) error {
	directory, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", Name, err)
	}
	if directory.Mode().Perm()&0o002 != 0 && ownedByOther(info) {
		return fault.Invalidf("reading %q: everyone may write to its directory, and it belongs to another user; name it with --config to use it, or work in another directory", path)
	}
	return nil
}

// Read reads a file. The error lists every problem, one a line, as PATH:LINE.
func Read(path string) (*File, error) {
	text, err := readText(path)
	if err != nil {
		return nil, fault.Invalidf("reading hookbuild's configuration: %w", err)
	}
	f := &File{Path: path, Dir: filepath.Dir(path)}
	f.Config, f.lines, err = parse(text)
	if err == nil {
		err = f.check()
	}
	if err := problemsIn(path, err); err != nil {
		return nil, err
	}
	return f, nil
}

// ReadProfile reads a site profile in a file of its own, whose keys are those of the
// section site. Its errors are as those of [Read].
func ReadProfile(path string) (p profile.Profile, lines profile.Lines, err error) {
	text, err := readText(path)
	if err != nil {
		return p, nil, fault.Invalidf("reading the site profile: %w", err)
	}
	d := decoder{lines: map[string]int{}}
	root, err := rootOf(text)
	if err == nil && root != nil {
		if d.section(root, reflect.ValueOf(&p).Elem(), ""); len(d.problems) > 0 {
			err = d.problems
		}
	}
	if err == nil {
		lines, err = profile.LinesOf(text)
	}
	return p, lines, problemsIn(path, err)
}

// problemsIn returns the error about a file, with the problems in the order of their
// lines, or other errors as they are.
func problemsIn(path string, err error) error {
	var problems problemsError
	if !errors.As(err, &problems) {
		return err
	}
	if len(problems) == 1 {
		return fault.Invalidf("%s:%w", path, err)
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return a.Line - b.Line })
	lines := path + ":" + strings.ReplaceAll(problems.Error(), "\n", "\n"+path+":")
	return fault.Invalidf("reading %q: %s:\n%s", path, words.Count(len(problems), "problem"), lines)
}

func readText(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%q has more than %s", path, words.Bytes(most))
	}
	return text, errors.Join(err, file.Close())
}

var (
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// SiteLine returns the line of a setting of the site section, such as "ntp", or of
// the first one below it. "" stands for the section. It returns 0 if the file has none.
func (f *File) SiteLine(setting string) int {
	path, first := strings.TrimSuffix("site."+setting, "."), 0
	for key, line := range f.lines {
		below, ok := strings.CutPrefix(key, path)
		if ok && (below == "" || below[0] == '.' || below[0] == '[') && (first == 0 || line < first) {
			first = line
		}
	}
	return first
}

// check finds keys that contradict each other or lack another.
func (f *File) check() error {
	h := f.Hook
	section := f.SiteLine("")
	at := func(key, format string, args ...any) error {
		return problemsError{{f.lines[key], key + ": " + fmt.Sprintf(format, args...)}}
	}
	switch {
	case f.SiteFile != "" && section > 0:
		return at("site-file", "the section site in line %d has settings too; keep one of them", section)
	case h.Dir != "" && h.URL != "":
		return at("hook.url", "hook.dir in line %d names a checkout too; keep one of them", f.lines["hook.dir"])
	case h.Archive != "" && h.Dir+h.URL != "":
		return at("hook.archive", "hook.dir or hook.url names a checkout too; keep one of them")
	case h.URL != "" && !strings.HasPrefix(h.URL, "https://"):
		return at("hook.url", "%q does not begin with https://; give the address of a repository's page, or an archive with hook.archive", web.Show(h.URL))
	case h.URL != "" && h.Commit == "":
		return at("hook.url", "add hook.commit with the 40 digits of the commit")
	case h.Commit != "" && h.URL == "":
		return at("hook.commit", "it applies to hook.url, which the file does not have")
	case h.Commit != "" && !commitForm.MatchString(h.Commit):
		return at("hook.commit", "%q is not a commit's 40 digits; git rev-parse prints them", h.Commit)
	case h.SHA256 != "" && h.URL+h.Archive == "":
		return at("hook.sha256", "it applies to hook.url or hook.archive, which the file does not have")
	case h.SHA256 != "" && !sha256Form.MatchString(h.SHA256):
		return at("hook.sha256", "%q is not a checksum of 64 digits, as sha256sum prints it", h.SHA256)
	}
	return nil
}
