package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hookbuild/internal/progress"
)

// Download fetches content into a file, which appears when it is complete. What
// an interrupted process fetched stays in file.part, with the server's version
// of it in file.part.version, and the next Download resumes there.
func (c *Client) Download(ctx context.Context, r Request, file string) error {
	part, note := file+".part", file+".part.version"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	err = c.downloadInto(ctx, r, f, note)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("keeping the download of %q: %w", Show(r.URL), err)
	}
	if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the note of a finished download: %w", err)
	}
	return nil
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
	task := progress.Start(c.sink, 0, "fetch %s", Show(r.URL))
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
