package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"hookbuild/internal/progress"
)

// mostSmall limits the files that are held in memory: configurations, and all
// Kconfig files together.
const mostSmall = 64 << 20

// eachOutput calls take for each file that a script left in /job/out.
func (b *Builder) eachOutput(ctx context.Context, id string, take func(name string, size int64, content io.Reader) error) error {
	stream, _, err := b.docker.CopyFromContainer(ctx, id, "/job/out")
	if err != nil {
		return outside("fetching the result from the Docker engine: %w", err)
	}
	defer stream.Close()
	return eachFileOf(stream, take)
}

// eachFileOf calls take for each file of a whole tar archive. One that stops
// between two files looks whole to package tar.
func eachFileOf(archive io.Reader, take func(name string, size int64, content io.Reader) error) error {
	const end = 2 * 512 // the zeros at the end of an archive
	counted := &countingReader{r: archive}
	files := tar.NewReader(counted)
	for {
		before := counted.n
		header, err := files.Next()
		if errors.Is(err, io.EOF) && counted.n-before < end {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return outside("fetching the result from the Docker engine: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := take(path.Base(header.Name), header.Size, files); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, files, header.Size); err != nil && !errors.Is(err, io.EOF) { // so that Next only reads what is between files
			return outside("fetching the result from the Docker engine: %w", err)
		}
	}
}

// countingReader counts the bytes that are read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements [io.Reader].
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// smallOutputs reads the results into memory.
func (b *Builder) smallOutputs(ctx context.Context, id string) (map[string][]byte, error) {
	outputs := map[string][]byte{}
	err := b.eachOutput(ctx, id, func(name string, size int64, content io.Reader) error {
		if size > mostSmall {
			return fmt.Errorf("fetching %q from the Docker engine: it has %d bytes", name, size)
		}
		text, err := io.ReadAll(content)
		outputs[name] = text
		return err
	})
	return outputs, err
}

// saveOutputs writes the results of what was built into a directory.
func (b *Builder) saveOutputs(ctx context.Context, id, what, dir string) error {
	task := progress.Start(b.o.Progress, 0, "fetch %s from the Docker engine", what)
	err := b.eachOutput(ctx, id, func(name string, _ int64, content io.Reader) (err error) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		_, err = io.Copy(f, task.Reader(content))
		return err
	})
	return task.End(err, "")
}

// kconfigFiles reads the archive of Kconfig files into memory: about 1 500
// files, 6 MB in total.
func kconfigFiles(archive []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the kernel's Kconfig files: %w", err)
		}
		content, err := io.ReadAll(io.LimitReader(r, mostSmall))
		if err != nil {
			return nil, fmt.Errorf("reading the kernel's Kconfig files: %w", err)
		}
		files[path.Clean(header.Name)] = content
	}
}
