package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
)

// Workspace is a Hook checkout: the templates, kernel configurations and
// container directories that a HookOS is made of.
type Workspace struct {
	// Dir is the checkout's absolute path.
	Dir string
}

// marks are the directories that every Hook checkout has.
var marks = [...]string{"linuxkit-templates", filepath.Join("kernel", "configs")}

// OpenWorkspace returns the checkout at dir or, if dir is empty, the nearest
// one at or above start.
func OpenWorkspace(dir, start string) (Workspace, error) {
	if dir != "" {
		return openAt(dir)
	}
	abs, err := filepath.Abs(start)
	if err != nil {
		return Workspace{}, fmt.Errorf("finding the Hook checkout: %w", err)
	}
	var unreadable error // the nearest directory that may be a checkout
	for at := abs; ; at = filepath.Dir(at) {
		found, err := isCheckout(at)
		if found {
			return Workspace{Dir: at}, nil
		}
		if unreadable == nil {
			unreadable = err
		}
		if at == filepath.Dir(at) && unreadable != nil {
			return Workspace{}, fault.Invalidf("finding the Hook checkout: %w", withRemedy(unreadable))
		}
		if at == filepath.Dir(at) {
			return Workspace{}, fault.Usagef("finding the Hook checkout: neither %q nor a parent of it has %s and %s; name a clone of github.com/tinkerbell/hook with --hook-dir DIR", abs, marks[0], marks[1])
		}
	}
}

// WorkspaceAbove returns the directory of the nearest checkout above start, or "" if
// start is a checkout itself, or in none.
func WorkspaceAbove(start string) string {
	w, err := OpenWorkspace("", start)
	if err != nil { // a command that needs the checkout reports it
		return ""
	}
	if abs, err := filepath.Abs(start); err != nil || abs == w.Dir {
		return ""
	}
	return w.Dir
}

func openAt(dir string) (Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Workspace{}, fmt.Errorf("opening the Hook checkout %q: %w", dir, err)
	}
	_, err = os.Stat(abs)
	found := false
	if err == nil {
		found, err = isCheckout(abs)
	}
	if err != nil {
		return Workspace{}, fault.Invalidf("opening the Hook checkout %q: %w", dir, withRemedy(err))
	}
	if !found {
		return Workspace{}, fault.Invalidf("opening the Hook checkout %q: it lacks %s or %s; name a clone of github.com/tinkerbell/hook", dir, marks[0], marks[1])
	}
	return Workspace{Dir: abs}, nil
}

// isCheckout reports whether a directory is a Hook checkout. The error says that this
// cannot be known.
func isCheckout(dir string) (bool, error) {
	for _, mark := range marks {
		info, err := os.Stat(filepath.Join(dir, mark))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir():
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}

// withRemedy adds what to do to an error about opening a checkout.
func withRemedy(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run hookbuild as a user who may read the checkout, or let this one read it and enter the directories above it (chmod)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; name a clone of github.com/tinkerbell/hook", err)
	}
	return err
}

// FS returns the checkout as a file system.
func (w Workspace) FS() fs.FS { return os.DirFS(w.Dir) }

const templateSuffix = ".template.yaml"

// Templates returns the names of the checkout's templates.
func (w Workspace) Templates() ([]string, error) {
	names, err := fs.Glob(w.FS(), "linuxkit-templates/*"+templateSuffix)
	if err != nil {
		return nil, fmt.Errorf("listing the templates of %q: %w", w.Dir, err)
	}
	for i, file := range names {
		names[i] = strings.TrimSuffix(filepath.Base(file), templateSuffix)
	}
	return names, nil
}

// template reads linuxkit-templates/NAME.template.yaml, before its variables
// are expanded. The path is relative to the checkout.
func (w Workspace) template(name string) (path string, content []byte, err error) {
	path = filepath.Join("linuxkit-templates", name+templateSuffix)
	content, err = bounded.ReadFile(filepath.Join(w.Dir, path), bounded.Small)
	if errors.Is(err, fs.ErrNotExist) {
		known, err := w.Templates()
		if err != nil {
			return "", nil, err
		}
		return "", nil, fault.Invalidf("reading the template %q of the checkout %q: it does not exist; the templates are %s", path, w.Dir, strings.Join(known, ", "))
	}
	if err != nil {
		return "", nil, fmt.Errorf("reading the template %q: %w", path, err)
	}
	return path, content, nil
}
