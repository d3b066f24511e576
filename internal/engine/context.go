package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// WriteContext writes the files of a directory as a build context: without what
// its .dockerignore excludes, sorted, owned by root and with a fixed time, so
// that the image depends only on the files' contents and modes. A Dockerfile
// and the .dockerignore are always included, because BuildKit itself needs
// them.
func WriteContext(w io.Writer, dir fs.FS) error {
	ignored, err := readIgnore(dir)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	err = fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		skip, err := ignored.MatchesOrParentMatches(name)
		if err != nil {
			return fmt.Errorf("matching %q with .dockerignore: %w", name, err)
		}
		if skip && name != "Dockerfile" && name != ".dockerignore" {
			if d.IsDir() && !ignored.Exclusions() {
				return fs.SkipDir
			}
			return nil
		}
		return writeFile(tw, dir, name, d)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func readIgnore(dir fs.FS) (*patternmatcher.PatternMatcher, error) {
	f, err := dir.Open(".dockerignore")
	if errors.Is(err, fs.ErrNotExist) {
		return patternmatcher.New(nil)
	}
	if err != nil {
		return nil, err
	}
	patterns, err := ignorefile.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading .dockerignore: %w", err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, fmt.Errorf("reading .dockerignore: %w", err)
	}
	return matcher, nil
}

func writeFile(tw *tar.Writer, dir fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = fs.ReadLink(dir, name); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() && !info.IsDir() && target == "" {
		return nil // sockets and devices are not image sources
	}
	hdr, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return fmt.Errorf("sending %q: %w", name, err)
	}
	clean := &tar.Header{Typeflag: hdr.Typeflag, Name: name, Linkname: target, Mode: hdr.Mode, Size: hdr.Size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if info.IsDir() {
		clean.Name += "/"
	}
	if err := tw.WriteHeader(clean); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return errors.Join(err, f.Close())
}
