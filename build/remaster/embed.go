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

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/cache"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel"
)

// Request describes images to add to an existing initramfs.
type Request struct {
	onboard.Wanted
	// Initramfs is the path or URL to read.
	Initramfs string
	// Vmlinuz is the kernel that boots the initramfs, which determines what can be
	// mounted. Empty means the one with the corresponding name next to the
	// initramfs ("vmlinuz-x86_64" for "initramfs-x86_64"). If that does not exist,
	// a kernel like HookOS' own is assumed.
	Vmlinuz string
	// Keep keeps the images that the initramfs has already. Otherwise they are
	// replaced.
	Keep bool
}

// kernelFile returns the path of the kernel, or "" if it is not known.
func (r Request) kernelFile() string {
	if r.Vmlinuz != "" {
		return r.Vmlinuz
	}
	return siblingKernel(r.Initramfs)
}

// siblingKernel returns the vmlinuz next to an initramfs, by HookOS' names, or ""
// if it does not exist.
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

// Embed writes the initramfs with the store as an additional segment. The other
// segments are unchanged, except that a store in them is removed. The output may be
// the input file. A file that already has the result's bytes is not touched.
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

// syncWriter is a writer for an initramfs. Sync syncs what was written to the disk.
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
	key     string   // of the outcome in the cache; "" if it cannot be repeated
	earlier *earlier // the same embedding, if it was done before
	told    recorder
	outcome outcome

	held   string   // directory of the images that are kept; "" for none
	heldBy *os.File // the lock of held
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

// find finds the images and concurrently computes the digest of the initramfs.
func (j *job) find(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		j.set, err = j.Find(ctx, j.Wanted)
		return err
	})
	g.Go(func() (err error) {
		j.digest, err = fetch.Digest(ctx, j.in.file)
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

// memory returns the RAM that a machine needs to boot the result.
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
	if !j.Keep {
		j.warnReplaced()
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

// warnReplaced warns of images in the initramfs that have no successor of the same
// name among the new ones.
func (j *job) warnReplaced() {
	const remedy = "; --keep-embedded keeps them"
	old, err := embed.Names(j.in.Contents.Tree)
	if err != nil {
		progress.Warnf(j.Progress, "the images embedded in %s were replaced, and which they were is not known (%v)"+remedy, j.in.Name, err)
		return
	}
	var taken []string
	for _, item := range j.set.Items {
		for _, name := range item.Names {
			if familiar, err := embed.Name(name); err == nil { // others were refused before
				taken = append(taken, familiar)
			}
		}
	}
	gone, worker := 0, ""
	for _, names := range old {
		if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(taken, n) }) {
			continue
		}
		gone++
		for _, name := range names {
			if strings.Contains(name, "/tink-worker:") || strings.Contains(name, "/tink-agent:") {
				worker = ", among them the worker " + name
			}
		}
	}
	if gone > 0 {
		progress.Warnf(j.Progress, "removed %s of %s%s"+remedy, words.Count(gone, "embedded image"), j.in.Name, worker)
	}
}

// packed is the store, packed for a kernel.
type packed struct {
	kernel  embed.Capabilities
	segment *cache.File
}

// unpackAndPack runs the slow steps concurrently. It unpacks the initramfs and
// writes it to out without a store, and packs the new store as soon as the kernel's
// capabilities are known.
func (j *job) unpackAndPack(ctx context.Context, out *initramfs.FileWriter, sync func() error) (made packed, err error) {
	g, ctx := errgroup.WithContext(ctx)
	contents := &pending{ready: make(chan struct{})}
	g.Go(func() error {
		wanted := func(e initramfs.Entry) bool { return kernel.InModuleLists(e) || embed.InNames(e) }
		if j.Keep {
			wanted = nil // all of them
		}
		if err := j.in.unpack(ctx, j.Progress, wanted); err != nil {
			return err
		}
		contents.set(j.in.Contents.Tree)
		err := j.in.copyWithout(ctx, out, initramfs.SegmentOptions{Level: j.Segment.Level, Jobs: j.Segment.Jobs})
		if err == nil {
			err = sync() // now, to wait less at the end
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
// contents of the initramfs only if it needs them.
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

// fetchAndWait fetches the images while it waits for the contents of the initramfs.
func (j *job) fetchAndWait(ctx context.Context, contents *pending) (*initramfs.Tree, error) {
	if err := j.Fetch(ctx, j.set); err != nil {
		return nil, err
	}
	return contents.wait(ctx)
}

// capabilities returns what the kernel can mount. If the kernel does not carry its
// configuration, the modules in the initramfs show it.
func (j *job) capabilities(ctx context.Context, contents *pending) (_ embed.Capabilities, err error) {
	vmlinuz := j.kernelFile()
	if vmlinuz == "" {
		progress.Notef(&j.told, "there is no vmlinuz next to the initramfs, so a kernel that mounts what HookOS' own does is assumed; name yours with --vmlinuz")
		return embed.Capabilities{}, nil
	}
	need := onboard.Need{Initramfs: j.Segment.Compression, Store: true, Layers: j.Packing.Compression}
	k, err := kernel.FromParts(ctx, vmlinuz, &initramfs.Tree{})
	if err != nil {
		return embed.Capabilities{}, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if options, err := recordedOptions(ctx, vmlinuz); err != nil {
		return embed.Capabilities{}, err
	} else if len(options) > 0 {
		onboard.UseRecord(k, options)
	}
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
	for _, s := range j.in.Contents.Segments {
		need.Read = append(need.Read, s.Compression)
	}
	return onboard.Capabilities(ctx, whole, need, &j.told)
}

// recordedOptions returns what the manifest.json next to a vmlinuz records of its
// options, or nil without one of this file.
func recordedOptions(ctx context.Context, vmlinuz string) (map[string]string, error) {
	if vmlinuz == "" {
		return nil, nil
	}
	m, err := artifact.ReadManifest(filepath.Join(filepath.Dir(vmlinuz), artifact.ManifestFile))
	if err != nil {
		return nil, nil //nolint:nilerr // the options are a help, and the file is not needed
	}
	for _, b := range m.Builds {
		i := slices.IndexFunc(b.Artifacts, func(f artifact.File) bool { return f.Name == filepath.Base(vmlinuz) })
		if i < 0 || b.Kernel == nil || len(b.Kernel.Options) == 0 {
			continue
		}
		f, err := os.Open(vmlinuz)
		if err != nil {
			return nil, err
		}
		file, err := artifact.Sum(vmlinuz, ctxio.Reader(ctx, f))
		if err := errors.Join(err, f.Close()); err != nil || file.SHA512 != b.Artifacts[i].SHA512 {
			return nil, err
		}
		return b.Kernel.Options, nil
	}
	return nil, nil
}

// keep adds the images of the initramfs to the set, without the names that new
// images take. They are written to files in a temporary directory. They come before
// the new ones, so that cached results for them can be used again.
func (j *job) keep(ctx context.Context) (err error) {
	if j.held, j.heldBy, err = atomicfile.TempDir(j.Cache.Dir(), atomicfile.Prefix); err != nil {
		return err
	}
	old, err := j.in.Store()
	if err != nil {
		return err
	}
	if old == nil {
		return fault.Invalidf("keeping the images embedded in %q: it has no embedded images; leave out --keep-embedded", j.in.Name)
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
// bytes with the given files and the segments of a store.
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
			return embed.Memory{}, fmt.Errorf("measuring the store: %w", err)
		}
	}
}
