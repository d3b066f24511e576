package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/progress"
)

// Download fetches content into a file, which appears when it is complete. What
// an interrupted process fetched stays in file.part, with the server's version
// of it in file.part.version, and the next Download resumes there. While another
// process fetches the same file, Download waits, and takes what it fetched.
func (c *Client) Download(ctx context.Context, r Request, file string) (err error) {
	part, note := file+".part", file+".part.version"
	f, err := openPart(ctx, part, file, func() {
		progress.Notef(c.sink, "another process is fetching %s; waiting for it", Show(r.URL))
	})
	if err != nil {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	if f == nil {
		return nil
	}
	defer func() { err = errors.Join(err, f.Close()) }() // ends the lock
	if err := c.downloadInto(ctx, r, f, note); err != nil {
		return err
	}
	if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the note of a finished download: %w", err)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	return nil
}

// openPart opens what was fetched of a file so far, and locks it. It calls waits if
// another process has the lock, and returns nil if that has finished the file.
func openPart(ctx context.Context, part, file string, waits func()) (*os.File, error) {
	for {
		f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Lock(ctx, f, waits); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if atomicfile.HasName(f) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if _, err := os.Stat(file); err == nil {
			return nil, nil //nolint:nilnil // as documented
		}
	}
}

func (c *Client) downloadInto(ctx context.Context, r Request, f *os.File, note string) error {
	var err error
	if r.From, err = f.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	version, err := os.ReadFile(note)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	r.Version = strings.TrimSpace(string(version))
	task := progress.Start(c.sink, 0, "%s", c.Doing("fetch", Show(r.URL)))
	body, err := c.Open(ctx, r)
	if err != nil {
		return task.End(fmt.Errorf("fetching %q: %w", Show(r.URL), err), "")
	}
	defer body.Close()
	err = errors.Join(truncate(f, body.At()), os.WriteFile(note, []byte(body.servedVersion()+"\n"), 0o644))
	if err != nil {
		return task.End(fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err), "")
	}
	task.Expect(max(body.Size(), 0))
	task.Add(body.At())
	_, err = io.Copy(f, task.Reader(body))
	var long *LengthError
	if errors.As(err, &long) {
		err = errors.Join(err, truncate(f, 0))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = fmt.Errorf("fetching %q: %w", Show(r.URL), err)
	}
	return task.End(err, "")
}

// truncate cuts f after n bytes and continues writing there.
func truncate(f *os.File, n int64) error {
	_, err := f.Seek(n, io.SeekStart)
	return errors.Join(err, f.Truncate(n))
}
