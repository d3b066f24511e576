package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
)

// EmbedRequest asks for an existing initramfs with images added.
type EmbedRequest struct {
	// Initramfs is the path or URL to read, Output the file to write; they may
	// be the same.
	Initramfs, Output string
	// Vmlinuz is the kernel that boots it, which says what it can mount. Empty
	// is the one beside the initramfs with its name ("initramfs-x86_64",
	// "vmlinuz-x86_64"), else a kernel like HookOS' own is taken for granted.
	Vmlinuz string
	Embed   *Embed
	// Keep adds to the images that the initramfs has already; otherwise they
	// are replaced.
	Keep bool
	// DockerArch is the machine's: amd64 or arm64.
	DockerArch string
	Layout     embed.Layout
	Packing    embed.Packing
	Segment    initramfs.SegmentOptions
}

// EmbedInto writes the initramfs with one more segment, the store. The
// segments that it has stay as they are, but for a store in them.
func (b *Builder) EmbedInto(ctx context.Context, r EmbedRequest) (_ embed.Memory, err error) {
	in, err := b.findInitramfs(ctx, r.Initramfs)
	if err != nil {
		return embed.Memory{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	s, digest, err := b.findAndHash(ctx, r, in)
	if err != nil {
		return embed.Memory{}, err
	}
	again, err := b.embeddingOf(ctx, r, in, digest, s)
	if err != nil {
		return embed.Memory{}, err
	}
	if memory, done, err := again.repeat(ctx, r.Output); done || err != nil {
		return memory, err
	}
	return b.embedInto(ctx, r, in, s, again)
}

// findAndHash finds the images and, meanwhile, the digest of the initramfs.
func (b *Builder) findAndHash(ctx context.Context, r EmbedRequest, in *Existing) (s *store, digest string, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s, err = b.planStore(ctx, r.Embed, r.DockerArch, r.Layout, r.Packing)
		return err
	})
	g.Go(func() (err error) {
		digest, err = fetch.Digest(in.file)
		return err
	})
	return s, digest, g.Wait()
}

func (b *Builder) embedInto(ctx context.Context, r EmbedRequest, in *Existing, s *store, again *embedding) (_ embed.Memory, err error) {
	held, err := os.MkdirTemp(b.Cache.Dir(), "kept-")
	if err != nil {
		return embed.Memory{}, fmt.Errorf("making room for the images to keep: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(held)) }()
	var can embed.Capabilities
	var segment *cache.File
	var unmade error // the output has no part in it
	size, err := writeInitramfs(r.Output, func(out *output) error {
		if can, segment, unmade = b.unpackAndPack(ctx, r, in, s, again, held, out); unmade != nil {
			return unmade
		}
		return out.Append(ctx, io.NewSectionReader(segment, 0, segment.Size()))
	})
	if unmade != nil {
		return embed.Memory{}, unmade
	}
	if segment != nil {
		defer segment.Close()
	}
	if err != nil {
		return embed.Memory{}, err
	}
	plain := !in.hasStore()
	embed.Strip(in.Contents.Tree)
	memory, err := memoryToBoot(ctx, size, in.Contents.Tree, segment)
	if err == nil && plain {
		err = again.remember(can, memory)
	}
	return memory, err
}

// unpackAndPack does at once what takes long: it gives the initramfs its
// Contents and writes it to out without the store that it may have, and packs the
// new one as soon as it is known how. Images that are kept pass through files in
// held.
func (b *Builder) unpackAndPack(ctx context.Context, r EmbedRequest, in *Existing, s *store, again *embedding, held string, out *output) (can embed.Capabilities, segment *cache.File, err error) {
	g, ctx := errgroup.WithContext(ctx)
	unpacked := make(chan struct{})
	wanted := kernel.InModuleLists
	if r.Keep {
		wanted = nil // all of them
	}
	g.Go(func() error {
		if err := b.unpack(ctx, in, wanted); err != nil {
			return err
		}
		close(unpacked)
		err := in.copyWithout(ctx, out.FileWriter, initramfs.SegmentOptions{Level: r.Segment.Level, Jobs: r.Segment.Jobs})
		if err == nil {
			err = out.file.Sync() // now, so that there is less to wait for at the end
		}
		if err != nil {
			return fmt.Errorf("writing %q: %w", r.Output, err)
		}
		return nil
	})
	contents := func() (*initramfs.Tree, error) {
		select {
		case <-unpacked:
			return in.Contents.Tree, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	g.Go(func() (err error) {
		can, segment, err = b.packFor(ctx, r, in, contents, s, again, held)
		return err
	})
	if err = g.Wait(); err != nil && segment != nil {
		err = errors.Join(err, segment.Close())
	}
	return can, segment, err
}

// packFor packs the store for the kernel that is to boot it. It asks for the
// contents of the initramfs, and waits, only where they matter.
func (b *Builder) packFor(ctx context.Context, r EmbedRequest, in *Existing, contents func() (*initramfs.Tree, error), s *store, again *embedding, held string) (can embed.Capabilities, segment *cache.File, err error) {
	// To wait is time to fetch in.
	waiting := func() (*initramfs.Tree, error) {
		if err := b.fetchAll(ctx, s.items); err != nil {
			return nil, err
		}
		return contents()
	}
	if can, err = again.listening().capabilitiesOf(ctx, r, waiting); err != nil {
		return can, nil, err
	}
	if r.Keep {
		if _, err := waiting(); err != nil {
			return can, nil, err
		}
		if err := b.keep(ctx, s, in, held); err != nil {
			return can, nil, err
		}
	}
	segment, err = b.storeSegment(ctx, s, can, r.Segment)
	return can, segment, err
}

// output is an initramfs that is being written.
type output struct {
	*initramfs.FileWriter
	file *os.File
}

// writeInitramfs writes the file that appears as a whole, and gives its size in
// bytes.
func writeInitramfs(path string, fill func(*output) error) (size int64, err error) {
	err = writeAtomically(path, func(f *os.File) error {
		out := &output{initramfs.NewFileWriter(f), f}
		defer func() { size = out.Offset() }()
		return fill(out)
	})
	return size, err
}

// writeUnlessEqual writes the file like writeInitramfs, unless one of these bytes
// is there.
func writeUnlessEqual(path string, fill func(*initramfs.FileWriter) error) error {
	if is, err := holds(path, fill); is || err != nil {
		return err
	}
	_, err := writeInitramfs(path, func(out *output) error { return fill(out.FileWriter) })
	return err
}

// capabilitiesOf asks the kernel what can be mounted and, where it does not carry
// its configuration, the modules on board.
func (b *Builder) capabilitiesOf(ctx context.Context, r EmbedRequest, contents func() (*initramfs.Tree, error)) (_ embed.Capabilities, err error) {
	vmlinuz := r.kernelFile()
	if vmlinuz == "" {
		progress.Notef(b.Progress, "no kernel is at hand that says what it can mount: one like HookOS' own is taken for granted; name yours with --vmlinuz")
		return embed.Capabilities{}, nil
	}
	k, err := kernel.FromParts(ctx, vmlinuz, &initramfs.Tree{})
	if err != nil {
		return embed.Capabilities{}, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if alone, err := k.Features(ctx); err != nil {
		return embed.Capabilities{}, err
	} else if alone.Config != nil {
		return b.capabilities(ctx, k, r.need())
	}
	tree, err := contents()
	if err != nil {
		return embed.Capabilities{}, err
	}
	whole, err := kernel.FromParts(ctx, vmlinuz, tree)
	if err != nil {
		return embed.Capabilities{}, err
	}
	defer func() { err = errors.Join(err, whole.Close()) }()
	return b.capabilities(ctx, whole, r.need())
}

func (r EmbedRequest) need() need {
	return need{initramfs: r.Segment.Compression, store: true, layers: r.Packing.Compression}
}

// kernelFile is the path of the kernel, "" where none is at hand.
func (r EmbedRequest) kernelFile() string {
	if r.Vmlinuz != "" {
		return r.Vmlinuz
	}
	return besides(r.Initramfs)
}

// besides gives the kernel of an initramfs by HookOS' names, "" when it is not
// there.
func besides(initramfsPath string) string {
	dir, base := filepath.Split(initramfsPath)
	rest, ok := strings.CutPrefix(base, "initramfs")
	if !ok {
		return ""
	}
	vmlinuz := filepath.Join(dir, "vmlinuz"+rest)
	if _, err := os.Stat(vmlinuz); err != nil {
		return ""
	}
	return vmlinuz
}

// keep adds the images that the initramfs has to the store, without the names
// that new images take over. They pass through files in dir, and come before the
// new ones: so what was made of them before can be used again.
func (b *Builder) keep(ctx context.Context, s *store, in *Existing, dir string) error {
	old, err := in.Store()
	if err != nil {
		return err
	}
	if old == nil {
		return fault.Invalidf("keeping the images embedded in %q: it has none; leave --keep-embedded out", in.Name)
	}
	items, notes, err := old.Items(ctx, b.Client, dir)
	if err != nil {
		return err
	}
	for _, note := range notes {
		progress.Warnf(b.Progress, "%s", note)
	}
	taken := map[string]bool{}
	for _, item := range s.items {
		for _, name := range item.Names {
			taken[name] = true
		}
	}
	var kept []embed.Item
	for _, item := range items {
		item.Names = slices.DeleteFunc(item.Names, func(n string) bool { return taken[n] })
		if len(item.Names)+len(item.Digests) > 0 {
			kept = append(kept, item)
		}
	}
	s.items = append(kept, s.items...)
	return nil
}

// memoryToBoot tells what RAM a machine needs to boot an initramfs of so many
// bytes that holds the files and the segments of a store.
func memoryToBoot(ctx context.Context, size int64, files *initramfs.Tree, store *cache.File) (embed.Memory, error) {
	r := initramfs.NewReader(ctx, io.NewSectionReader(store, 0, store.Size()), initramfs.Limits{})
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return embed.MemoryToBoot(size, files.All()), nil
		}
		if err == nil {
			err = files.Add(record.Entry)
		}
		if err != nil {
			return embed.Memory{}, fmt.Errorf("weighing the store: %w", err)
		}
	}
}

// ExtractImage writes an embedded image as an archive that docker load takes.
// Its notes tell what could not be had as it was.
func (b *Builder) ExtractImage(ctx context.Context, source, name, output string) (x *embed.Extracted, err error) {
	err = writeAtomically(output, func(w *os.File) (err error) {
		x, err = b.extract(ctx, source, name, w)
		return err
	})
	return x, err
}

func (b *Builder) extract(ctx context.Context, source, name string, w io.Writer) (x *embed.Extracted, err error) {
	in, err := b.OpenInitramfs(ctx, source)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	store, err := in.Store()
	if err != nil {
		return nil, err
	}
	if store == nil {
		return nil, fault.Invalidf("taking %q out of %q: it has no embedded images", name, source)
	}
	return store.Extract(ctx, name, w)
}

// workerName is what the agent is called on board, whoever made it.
const workerName = "127.0.0.1/embedded/tink-worker"

// WorkerFrom lifts the worker out of a released HookOS, a path or URL, and
// gives it as a source: newer bundles name none.
func (b *Builder) WorkerFrom(ctx context.Context, source string) (_ string, err error) {
	file, err := fetch.Open(ctx, source, fetch.Options{Cache: b.Cache, Offline: b.Offline, Progress: b.Progress})
	if err != nil {
		return "", fmt.Errorf("taking the worker out of a HookOS: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	digest, err := fetch.Digest(file)
	if err != nil {
		return "", err
	}
	key, err := keyOf([]string{b.Salt, workerName, digest})
	if err != nil {
		return "", err
	}
	archive, _, err := b.Cache.Derived(ctx, "workers", key, func(w io.Writer) error {
		_, err := b.extract(ctx, source, workerName, w)
		return err
	})
	if err != nil {
		return "", err
	}
	return "docker-archive:" + archive.Path(), archive.Close()
}

// artifactMode lets a web server read what was made, whatever the umask is.
const artifactMode fs.FileMode = 0o644

// writeAtomically writes a file that appears complete or not at all.
func writeAtomically(path string, fill func(*os.File) error) (err error) {
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
		err = f.Chmod(artifactMode)
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
