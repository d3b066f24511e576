package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"hookbuild/embed"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// embedding is one embedding of images into an initramfs, by the contents of
// both. Done once, it is done again without unpacking the initramfs.
type embedding struct {
	b       *Builder
	in      *Existing
	store   *store
	segment initramfs.SegmentOptions
	key     string // "": it is not one that can be repeated so

	mu   sync.Mutex
	told []progress.Event
}

// outcome is what there is to know of an embedding that was done.
type outcome struct {
	Kernel embed.Capabilities `json:"kernel"`
	Memory embed.Memory       `json:"memory"`
	Told   []progress.Event   `json:"told"` // notes and warnings about the kernel
}

const embeddingsKind = "embeddings"

// embeddingOf identifies what r asks for, with an initramfs of that digest. What
// is kept of the initramfs's own images is known only when it is unpacked, so
// that is never repeated.
func (b *Builder) embeddingOf(ctx context.Context, r EmbedRequest, in *Existing, digest string, s *store) (*embedding, error) {
	e := &embedding{b: b, in: in, store: s, segment: r.Segment}
	if r.Keep {
		return e, nil
	}
	kernel, err := kernelDigest(ctx, r.kernelFile())
	if err != nil {
		return nil, err
	}
	images, err := b.storeKey(s, embed.Capabilities{}, r.Segment)
	if err != nil {
		return nil, err
	}
	e.key, err = keyOf([]string{b.Salt, digest, kernel, images})
	return e, err
}

// kernelDigest is "" where no kernel is at hand.
func kernelDigest(ctx context.Context, path string) (_ string, err error) {
	if path == "" {
		return "", nil
	}
	f, err := fetch.Open(ctx, path, fetch.Options{Offline: true})
	if err != nil {
		return "", fmt.Errorf("reading the kernel: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fetch.Digest(f)
}

// repeat writes the result of the same embedding, where it was done before and
// the store is still there. A file that is that result already stays untouched.
func (e *embedding) repeat(ctx context.Context, path string) (_ embed.Memory, done bool, err error) {
	before, err := e.outcome()
	if before == nil || err != nil {
		return embed.Memory{}, false, err
	}
	key, err := e.b.storeKey(e.store, before.Kernel, e.segment)
	if err != nil {
		return embed.Memory{}, false, err
	}
	segment, _, err := e.b.Cache.Derived(ctx, segmentsKind, key, func(io.Writer) error { return fs.ErrNotExist })
	if errors.Is(err, fs.ErrNotExist) {
		return embed.Memory{}, false, nil
	}
	if err != nil {
		return embed.Memory{}, false, err
	}
	defer segment.Close()
	for _, event := range before.Told {
		progress.Or(e.b.Progress).Report(event)
	}
	task := progress.Start(e.b.Progress, 0, "embed the images into %s", e.in.Name)
	err = writeUnlessEqual(path, func(out *initramfs.FileWriter) error {
		return errors.Join(
			out.Append(ctx, e.in.section(0, e.in.Size())),
			out.Append(ctx, io.NewSectionReader(segment, 0, segment.Size())),
		)
	})
	return before.Memory, true, task.End(err, "nothing changed")
}

// outcome is nil when the embedding was not done.
func (e *embedding) outcome() (*outcome, error) {
	if e.key == "" {
		return nil, nil
	}
	text, err := e.b.Cache.Note(embeddingsKind, e.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := &outcome{}
	if err := json.Unmarshal([]byte(text), o); err != nil {
		return nil, fmt.Errorf("reading what an embedding came to: %w", err)
	}
	return o, nil
}

// remember keeps what the embedding came to.
func (e *embedding) remember(can embed.Capabilities, memory embed.Memory) error {
	if e.key == "" {
		return nil
	}
	text, err := json.Marshal(outcome{Kernel: can, Memory: memory, Told: e.told})
	if err != nil {
		return fmt.Errorf("keeping what an embedding came to: %w", err)
	}
	return e.b.Cache.SetNote(embeddingsKind, e.key, string(text))
}

// listening is the builder whose notes and warnings are kept, to be told again.
func (e *embedding) listening() *Builder {
	b := *e.b
	b.Progress = e
	return &b
}

// Report implements [progress.Sink].
func (e *embedding) Report(event progress.Event) {
	if event.Kind == progress.Note || event.Kind == progress.Warning {
		e.mu.Lock()
		e.told = append(e.told, event)
		e.mu.Unlock()
	}
	progress.Or(e.b.Progress).Report(event)
}
