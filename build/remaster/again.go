package remaster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"hookbuild/build/onboard"
	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// outcome is the cached result of an embedding, by the contents of the initramfs,
// the kernel and the images. With it, the embedding can be repeated without
// unpacking the initramfs.
type outcome struct {
	Kernel embed.Capabilities `json:"kernel"`
	Memory embed.Memory       `json:"memory"`
	Told   []progress.Event   `json:"told"` // notes and warnings about the kernel
}

// earlier is an earlier embedding whose store is still in the cache.
type earlier struct {
	outcome
	segment *cache.File
}

const embeddingsKind = "embeddings"

// lookBack looks for an earlier embedding of the same inputs. It is not called if
// images of the initramfs are kept, which are known only after unpacking.
func (j *job) lookBack(ctx context.Context) (err error) {
	kernel, err := kernelDigest(ctx, j.kernelFile())
	if err != nil {
		return err
	}
	images, err := j.Key(j.set, embed.Capabilities{})
	if err != nil {
		return err
	}
	options, err := recordedOptions(ctx, j.kernelFile())
	if err != nil {
		return err
	}
	if j.key, err = digest.Key(j.Salt, j.digest, kernel, options, images); err != nil {
		return err
	}
	before, err := j.recall()
	if before == nil || err != nil {
		return err
	}
	key, err := j.Key(j.set, before.Kernel)
	if err != nil {
		return err
	}
	segment, _, err := j.Cache.Derived(ctx, onboard.SegmentsKind, key, func(io.Writer) error { return fs.ErrNotExist })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	j.earlier, j.outcome = &earlier{*before, segment}, *before
	for _, event := range before.Told {
		progress.Or(j.Progress).Report(event)
	}
	return nil
}

// kernelDigest returns the digest of the kernel at path, or "" if path is empty.
func kernelDigest(ctx context.Context, path string) (_ string, err error) {
	if path == "" {
		return "", nil
	}
	f, err := fetch.Open(ctx, path, fetch.Options{Offline: true})
	if err != nil {
		return "", fmt.Errorf("reading the kernel: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fetch.Digest(ctx, f)
}

// isThere reports whether the output already has the result of the earlier
// embedding.
func (j *job) isThere(ctx context.Context, to atomicfile.Target) (bool, error) {
	if j.earlier == nil {
		return false, nil
	}
	path, err := to.Resolve()
	if err != nil || path == "" {
		return false, err
	}
	is, err := holds(path, func(out *initramfs.FileWriter) error { return j.copy(ctx, out) })
	if is {
		err = progress.Start(j.Progress, 0, "embed the images into %s", j.in.Name).End(nil, "nothing changed")
	}
	return is, err
}

// repeat writes the result of the earlier embedding.
func (j *job) repeat(ctx context.Context, out *initramfs.FileWriter) error {
	task := progress.Start(j.Progress, 0, "embed the images into %s", j.in.Name)
	return task.End(j.copy(ctx, out), "nothing changed")
}

// copy writes the initramfs and the store of the earlier embedding.
func (j *job) copy(ctx context.Context, out *initramfs.FileWriter) error {
	segment := j.earlier.segment
	if err := out.Append(ctx, j.in.section(0, j.in.Size())); err != nil {
		return err
	}
	return out.Append(ctx, io.NewSectionReader(segment, 0, segment.Size()))
}

// recall returns the cached outcome, or nil if the cache has none.
func (j *job) recall() (*outcome, error) {
	text, err := j.Cache.Note(embeddingsKind, j.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := &outcome{}
	if err := json.Unmarshal([]byte(text), o); err != nil {
		return nil, fmt.Errorf("reading the result of an earlier embedding: %w", err)
	}
	return o, nil
}

// remember caches the outcome.
func (j *job) remember() error {
	if j.key == "" {
		return nil
	}
	text, err := json.Marshal(j.outcome)
	if err != nil {
		return fmt.Errorf("caching the result of an embedding: %w", err)
	}
	return j.Cache.SetNote(embeddingsKind, j.key, string(text))
}

// recorder passes events on and keeps the notes and warnings, which are reported
// again when the embedding is repeated.
type recorder struct {
	next   progress.Sink
	mu     sync.Mutex
	events []progress.Event
}

// Report implements [progress.Sink].
func (r *recorder) Report(event progress.Event) {
	if event.Kind == progress.Note || event.Kind == progress.Warning {
		r.mu.Lock()
		r.events = append(r.events, event)
		r.mu.Unlock()
	}
	progress.Or(r.next).Report(event)
}
