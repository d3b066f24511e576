package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// EmbedRequest asks for an existing initramfs with images added.
type EmbedRequest struct {
	// Initramfs is the file to read, Output the one to write; they may be the same.
	Initramfs, Output string
	Embed             *Embed
	// DockerArch is the machine's: amd64 or arm64.
	DockerArch string
	Layout     embed.Layout
	Segment    initramfs.SegmentOptions
}

// EmbedInto writes the initramfs with one more segment: the store. The bytes
// that it had stay as they are.
func (b *Builder) EmbedInto(ctx context.Context, r EmbedRequest) error {
	in, err := os.Open(r.Initramfs)
	if err != nil {
		return fault.Mark(fmt.Errorf("reading the initramfs to add to: %w", err), fault.Invalid)
	}
	defer in.Close()
	if err := b.checkInput(ctx, in, r.Initramfs); err != nil {
		return err
	}
	s, err := b.planStore(ctx, r.Embed, r.DockerArch, r.Layout)
	if err != nil {
		return err
	}
	segment, err := b.storeSegment(ctx, s, embed.Capabilities{}, r.Segment)
	if err != nil {
		return err
	}
	defer segment.Close()
	return writeAtomically(r.Output, func(w io.Writer) error {
		out := initramfs.NewFileWriter(w)
		if err := out.Append(ctx, in); err != nil {
			return err
		}
		return out.Append(ctx, io.NewSectionReader(segment, 0, segment.Size()))
	})
}

// checkInput reads the whole initramfs: it must be one, and carry no store yet,
// since dockerd reads one store only.
func (b *Builder) checkInput(ctx context.Context, in *os.File, name string) error {
	task := progress.Start(b.Progress, 0, "check the initramfs %s", name)
	found, err := holds(ctx, in, embed.StorePath)
	if err != nil {
		err = fmt.Errorf("reading the initramfs %q: %w", name, err)
	} else if found {
		err = fault.Mark(fmt.Errorf("adding images to %q: it has a store of images already (%s), and dockerd reads one only; start from a HookOS without", name, embed.StorePath), fault.Invalid)
	}
	if err == nil {
		_, err = in.Seek(0, io.SeekStart)
	}
	return task.End(err, "")
}

// writeAtomically writes a file that appears complete or not at all.
func writeAtomically(path string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	defer func() {
		if gone := os.Remove(f.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	err = fill(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// holds tells whether an initramfs has a file at path or below. It reads the
// whole file, so a damaged one is found.
func holds(ctx context.Context, file io.Reader, path string) (bool, error) {
	r := initramfs.NewReader(ctx, file, initramfs.Limits{})
	found := false
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return false, err
		}
		found = found || record.Path == path || strings.HasPrefix(record.Path, path+"/")
	}
}
