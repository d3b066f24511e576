package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/internal/atomicfile"
)

// appear exchanges the directories and then renames the tarball, "" for none. Links in
// OUT are last: if one cannot be made, directory and tarball belong together.
func (s *Stage) appear(tarball string) error {
	final := s.final()
	if err := exchange(s.dir, final); err != nil {
		return fmt.Errorf("publishing the artifacts as %q: %w; the directory was not changed", final, err)
	}
	if err := giveBack(s.dir, final); err != nil {
		return err
	}
	if tarball != "" {
		if err := os.Rename(filepath.Join(s.root, tarball), filepath.Join(s.out, tarball)); err != nil {
			return fmt.Errorf("publishing %q: %w", tarball, err)
		}
	}
	if err := s.appearBeside(); err != nil {
		return err
	}
	return atomicfile.SyncDir(s.out)
}

// appearBeside links ISO images into OUT, after the directories were exchanged.
func (s *Stage) appearBeside() error {
	name := filepath.Base(s.dir)
	for _, image := range s.beside {
		if err := linkBeside(s.root, name, s.out, image); err != nil {
			return err
		}
	}
	return renewBeside(s.root, name, s.out)
}

// isoSuffix ends the names of the artifacts that are linked into OUT. Links to others
// are the user's.
const isoSuffix = ".iso"

// renewBeside makes the links in OUT to ISO images of the directory that OUT/NAME
// replaced, which is now in stage, links to the images in OUT/NAME. It removes those
// whose image is no longer there.
func renewBeside(stage, name, out string) error {
	replaced, err := os.ReadDir(filepath.Join(stage, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for links to replaced artifacts: %w", err)
	}
	for _, e := range replaced {
		image := e.Name()
		path := filepath.Join(out, image)
		if !strings.HasSuffix(image, isoSuffix) || !sameFile(filepath.Join(stage, name, image), path) {
			continue // it is not there, or not a link that hookbuild made
		}
		err := linkBeside(stage, name, out, image)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.Remove(path); err != nil {
				err = fmt.Errorf("removing the link to the artifact %q: %w", image, err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linkBeside makes OUT/image a link to OUT/NAME/image. The stage holds it meanwhile.
func linkBeside(stage, name, out, image string) error {
	link := filepath.Join(stage, image)
	err := os.RemoveAll(link) // a run that was killed may have left it
	if err == nil {
		err = os.Link(filepath.Join(out, name, image), link)
	}
	if err == nil {
		err = os.Rename(link, filepath.Join(out, image))
	}
	if err == nil {
		err = os.RemoveAll(link) // a rename between two links of one file does nothing
	}
	if err != nil {
		return fmt.Errorf("linking the artifact %q in %q: %w", image, out, err)
	}
	return nil
}

// sameFile reports whether both paths exist and are one file.
func sameFile(a, b string) bool {
	infoA, errA := os.Lstat(a)
	infoB, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// giveBack moves what cannot be linked, such as directories that a user created
// in OUT/hook, from the exchanged directory to the new one.
func giveBack(exchanged, final string) error {
	left, err := os.ReadDir(exchanged)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range left {
		if !e.Type().IsRegular() { // of a killed run, final may have been removed since
			err = errors.Join(err, os.MkdirAll(final, 0o755), os.Rename(filepath.Join(exchanged, e.Name()), filepath.Join(final, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the other files in %q: %w", final, err)
	}
	return nil
}

// exchange exchanges the directories staged and final. If final does not exist,
// staged is renamed to it.
func exchange(staged, final string) error {
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(staged, final)
	}
	return swap(staged, final)
}
