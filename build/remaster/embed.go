package remaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hookbuild/build/onboard"
	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
)

// Request asks for an existing initramfs with images added.
type Request struct {
	onboard.Wanted
	// Initramfs is the path or URL to read.
	Initramfs string
	// Vmlinuz is the kernel that boots it, which says what it can mount. Empty
	// means the one next to the initramfs with its name ("initramfs-x86_64",
	// "vmlinuz-x86_64"); without one, a kernel like HookOS' own is assumed.
	Vmlinuz string
	// Keep adds to the images that the initramfs has already; otherwise they
	// are replaced.
	Keep bool
}

// kernelFile is the path of the kernel; "" where none is at hand.
func (r Request) kernelFile() string {
	if r.Vmlinuz != "" {
		return r.Vmlinuz
	}
	return siblingKernel(r.Initramfs)
}

// siblingKernel returns the vmlinuz next to an initramfs, by HookOS' names; ""
// when it does not exist.
func siblingKernel(initramfsPath string) string {
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

// Embed writes the initramfs with one more segment, the store. The segments that
// it has stay as they are, except for a store in them. The output may be the
// file that is read; one that has the result's bytes already stays untouched.
func (e *Editor) Embed(ctx context.Context, r Request, to atomicfile.Target) (_ embed.Memory, err error) {
	if err := to.Check(); err != nil {
		return embed.Memory{}, err
	}
	j, err := e.begin(ctx, r)
	if err != nil {
		return embed.Memory{}, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	if done, err := j.isThere(ctx, to); done || err != nil {
		return j.memory(), err
	}
	out, err := to.Create()
	if err != nil {
		return embed.Memory{}, err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	if err := j.write(ctx, out); err != nil {
		return embed.Memory{}, err
	}
	return j.memory(), out.Commit()
}

// syncWriter is where an initramfs is written. Sync brings what was written to
// the disk.
type syncWriter interface {
	io.Writer
	Sync() error
}

// job is one embedding.
type job struct {
	*Editor
	Request
	in      *Existing
	digest  string // of the initramfs
	set     *onboard.Set
	key     string   // names the outcome in the cache; "" when it cannot be repeated
	earlier *earlier // the same embedding, done before; nil if it was not
	told    recorder
	outcome outcome

	held   string   // directory of the images that are kept; "" for none
	heldBy *os.File // locks held
}

// begin opens the initramfs, finds the images and looks for an earlier run.
func (e *Editor) begin(ctx context.Context, r Request) (_ *job, err error) {
	in, err := e.open(ctx, r.Initramfs)
	if err != nil {
		return nil, err
	}
	j := &job{Editor: e, Request: r, in: in, told: recorder{next: e.Progress}}
	err = j.find(ctx)
	if err == nil && !r.Keep {
		err = j.lookBack(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// find finds the images and, meanwhile, the digest of the initramfs.
func (j *job) find(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		j.set, err = j.Find(ctx, j.Wanted)
		return err
	})
	g.Go(func() (err error) {
		j.digest, err = fetch.Digest(j.in.file)
		return err
	})
	return g.Wait()
}

func (j *job) close() error {
	err := j.in.Close()
	if j.earlier != nil {
		err = errors.Join(err, j.earlier.segment.Close())
	}
	if j.held != "" {
		err = errors.Join(err, os.RemoveAll(j.held), j.heldBy.Close())
	}
	return err
}

// memory is the RAM that a machine needs to boot the result.
func (j *job) memory() embed.Memory { return j.outcome.Memory }

// write writes the result.
func (j *job) write(ctx context.Context, w syncWriter) error {
	out := initramfs.NewFileWriter(w)
	if j.earlier != nil {
		return j.repeat(ctx, out)
	}
	packed, err := j.unpackAndPack(ctx, out, w.Sync)
	if err != nil {
		return err
	}
	defer packed.segment.Close()
	if err := out.Append(ctx, io.NewSectionReader(packed.segment, 0, packed.segment.Size())); err != nil {
		return fmt.Errorf("writing the initramfs: %w", err)
	}
	plain := !j.in.hasStore()
	embed.Strip(j.in.Contents.Tree)
	memory, err := memoryToBoot(ctx, out.Offset(), j.in.Contents.Tree, packed.segment)
	if err != nil {
		return err
	}
	j.outcome = outcome{Kernel: packed.kernel, Memory: memory, Told: j.told.events}
	if !plain {
		return nil
	}
	return j.remember()
}

// packed is the store, packed for a kernel.
type packed struct {
	kernel  embed.Capabilities
	segment *cache.File
}

// unpackAndPack runs the slow steps concurrently: it unpacks the initramfs and
// writes it to out without the store that it may have, and packs the new store
// as soon as it is known how.
func (j *job) unpackAndPack(ctx context.Context, out *initramfs.FileWriter, sync func() error) (made packed, err error) {
	g, ctx := errgroup.WithContext(ctx)
	contents := &pending{ready: make(chan struct{})}
	g.Go(func() error {
		wanted := kernel.InModuleLists
		if j.Keep {
			wanted = nil // all of them
		}
		if err := j.in.unpack(ctx, j.Progress, wanted); err != nil {
			return err
		}
		contents.set(j.in.Contents.Tree)
		err := j.in.copyWithout(ctx, out, initramfs.SegmentOptions{Level: j.Segment.Level, Jobs: j.Segment.Jobs})
		if err == nil {
			err = sync() // now, so that there is less to wait for at the end
		}
		if err != nil {
			return fmt.Errorf("writing the initramfs: %w", err)
		}
		return nil
	})
	g.Go(func() (err error) {
		made, err = j.pack(ctx, contents)
		return err
	})
	if err = g.Wait(); err != nil && made.segment != nil {
		err = errors.Join(err, made.segment.Close())
	}
	return made, err
}

// pending is the contents of an initramfs that is being unpacked.
type pending struct {
	tree  *initramfs.Tree
	ready chan struct{}
}

func (p *pending) set(t *initramfs.Tree) {
	p.tree = t
	close(p.ready)
}

func (p *pending) wait(ctx context.Context) (*initramfs.Tree, error) {
	select {
	case <-p.ready:
		return p.tree, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pack packs the store for the kernel that will boot it. It waits for the
// contents of the initramfs only where they matter.
func (j *job) pack(ctx context.Context, contents *pending) (made packed, err error) {
	if made.kernel, err = j.capabilities(ctx, contents); err != nil {
		return made, err
	}
	if j.Keep {
		if _, err := j.fetchAndWait(ctx, contents); err != nil {
			return made, err
		}
		if err := j.keep(ctx); err != nil {
			return made, err
		}
	}
	made.segment, err = j.Pack(ctx, j.set, made.kernel)
	return made, err
}

// fetchAndWait uses the time of waiting to fetch the images.
func (j *job) fetchAndWait(ctx context.Context, contents *pending) (*initramfs.Tree, error) {
	if err := j.Fetch(ctx, j.set); err != nil {
		return nil, err
	}
	return contents.wait(ctx)
}

// capabilities asks the kernel what can be mounted and, where it does not carry
// its configuration, the modules on board.
func (j *job) capabilities(ctx context.Context, contents *pending) (_ embed.Capabilities, err error) {
	vmlinuz := j.kernelFile()
	if vmlinuz == "" {
		progress.Notef(&j.told, "no kernel is at hand that says what it can mount, so one like HookOS' own is assumed; name yours with --vmlinuz")
		return embed.Capabilities{}, nil
	}
	need := onboard.Need{Initramfs: j.Segment.Compression, Store: true, Layers: j.Packing.Compression}
	k, err := kernel.FromParts(ctx, vmlinuz, &initramfs.Tree{})
	if err != nil {
		return embed.Capabilities{}, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if alone, err := k.Features(ctx); err != nil {
		return embed.Capabilities{}, err
	} else if alone.Config != nil {
		return onboard.Capabilities(ctx, k, need, &j.told)
	}
	tree, err := j.fetchAndWait(ctx, contents)
	if err != nil {
		return embed.Capabilities{}, err
	}
	whole, err := kernel.FromParts(ctx, vmlinuz, tree)
	if err != nil {
		return embed.Capabilities{}, err
	}
	defer func() { err = errors.Join(err, whole.Close()) }()
	return onboard.Capabilities(ctx, whole, need, &j.told)
}

// keep adds the images that the initramfs has to the set, without the names that
// new images take over. They pass through files in a temporary directory, and
// come before the new ones: so what was made of them before can be used again.
func (j *job) keep(ctx context.Context) (err error) {
	if j.held, j.heldBy, err = atomicfile.TempDir(j.Cache.Dir(), atomicfile.Prefix); err != nil {
		return err
	}
	old, err := j.in.Store()
	if err != nil {
		return err
	}
	if old == nil {
		return fault.Invalidf("keeping the images embedded in %q: it has no embedded images; leave --keep-embedded out", j.in.Name)
	}
	items, notes, err := old.Items(ctx, j.Client, j.held)
	if err != nil {
		return err
	}
	for _, note := range notes {
		progress.Warnf(j.Progress, "%s", note)
	}
	taken := map[string]bool{}
	for _, item := range j.set.Items {
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
	j.set.Items = append(kept, j.set.Items...)
	return nil
}

// memoryToBoot returns the RAM that a machine needs to boot an initramfs of size
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
