// Package shared keeps results in a registry, for several machines. It is the
// remote of a [cache.Cache]: what one machine makes, others find by the key of
// all its inputs.
//
//	REPOSITORY:KIND-KEY   a manifest of type [artifactType]
//	  layer 1             a tar archive of one file, the result, named KIND/KEY
//
// The manifest's digest covers the layer's, and a result is used only if its layer
// has that digest and says that it is for that key. So a blob that changed, a
// manifest that names another result's blob, and a tag that was moved are found.
// Someone who may push can still make a result of their own for a key: as with
// any shared cache, those who may write to it are trusted.
//
// A registry that fails costs time only, and only once: it is not asked again.
// Deliberately left out: downloads, which their own servers have, and removal of
// old results, which registries have rules for.
package shared

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// Options configure a [Cache].
type Options struct {
	// Client reads, through mirrors. It must resolve any reference, so it has no
	// pins that are the only ones.
	Client *oci.Client
	// Remote writes.
	Remote oci.Remote
	// From are the repositories to look in, in this order, and To the one to
	// write to; "" for none.
	From []string
	To   string
	// Patience bounds how long a registry may keep a build waiting for a result,
	// beside the time that its bytes take at [leastSpeed]; 0 means 20 s.
	Patience time.Duration
	Progress progress.Sink
}

// leastSpeed is the speed, in bytes a second, below which a registry counts as
// failing: making most results is faster.
const leastSpeed = 512 << 10

// Cache is a cache in one or several registries. It is safe for concurrent use.
type Cache struct {
	Options
	from []*place

	mu sync.Mutex
	// bad holds the tags of entries of To that cannot be used.
	bad map[string]bool
	// found holds the place of each result that was found.
	found  map[string]*place
	offers []offer
	used   int
	bytes  int64
	made   int
}

// place is a repository to look in.
type place struct {
	name   string
	failed atomic.Bool // it is not asked again
}

// offer is a result that the local cache has.
type offer struct {
	kind, key, file string
}

// shares reports whether results of a kind are kept in registries: those that take
// long to make and whose key covers everything that goes in.
func shares(kind string) bool {
	return slices.Contains([]string{"segments", "pieces", "tar-split", "boot", "reports", "compiled", "modules"}, kind)
}

// Check checks the name of a repository.
func Check(repository string) error {
	_, err := name.NewRepository(repository)
	if err == nil && strings.Contains(repository, "://") {
		err = errors.New("it is a URL")
	}
	if err != nil {
		return fault.Usagef("reading the repository %q of a shared cache: %w; name a repository without tag, digest and https://, such as registry.example/team/hookbuild-cache", repository, err)
	}
	if err := oci.CheckRegistry(repository); err != nil {
		return fmt.Errorf("reading the repository of a shared cache: %w", err)
	}
	return nil
}

// New returns a cache with these options.
func New(o Options) *Cache {
	const patience = 20 * time.Second
	if o.Patience == 0 {
		o.Patience = patience
	}
	o.Progress = progress.Or(o.Progress)
	c := &Cache{Options: o, bad: map[string]bool{}, found: map[string]*place{}}
	for _, repository := range o.From {
		c.from = append(c.from, &place{name: repository})
	}
	return c
}

// tagOf returns the tag of a result.
func tagOf(kind, key string) string { return kind + "-" + key }

// Get implements [cache.Remote].
func (c *Cache) Get(ctx context.Context, kind, key string, w io.Writer) error {
	if !shares(kind) {
		return fs.ErrNotExist
	}
	for _, p := range c.from {
		if p.failed.Load() {
			continue
		}
		size, err := c.get(ctx, p, kind, key, w)
		if err == nil {
			c.mu.Lock()
			c.found[tagOf(kind, key)] = p
			c.used++
			c.bytes += size
			c.mu.Unlock()
			return nil
		}
		if err := c.judge(ctx, p, kind, key, err); err != nil {
			return err
		}
		if size > 0 {
			break // another place's result would follow what w has
		}
	}
	return fs.ErrNotExist
}

// judge reports what is wrong with a place or with its result. It returns the
// errors that are not the place's.
func (c *Cache) judge(ctx context.Context, p *place, kind, key string, err error) error {
	var own *writeError
	switch {
	case ctx.Err() != nil:
		return fault.Ended(ctx)
	case errors.As(err, &own):
		return own.error
	case isNotFound(err):
		return nil
	case fault.KindOf(err) == fault.Invalid:
		progress.Warnf(c.Progress, "the entry %s:%s of the shared cache is not used: %v; delete it there", p.name, tagOf(kind, key), err)
		c.mu.Lock()
		c.bad[p.name+":"+tagOf(kind, key)] = true
		c.mu.Unlock()
		return nil
	}
	c.giveUp(p, err)
	return nil
}

// giveUp stops asking a place.
func (c *Cache) giveUp(p *place, err error) {
	if p.failed.CompareAndSwap(false, true) {
		progress.Warnf(c.Progress, "looking for results in the shared cache %s: %v; going on without it", p.name, err)
	}
}

// isNotFound reports whether a registry lacks what it was asked for.
func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// get writes the result that a place has to w. It returns the number of bytes
// written, also with an error.
func (c *Cache) get(ctx context.Context, p *place, kind, key string, w io.Writer) (int64, error) {
	file, err := c.find(ctx, p, kind, key)
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.within(ctx, file.Size)
	defer cancel()
	task := progress.StartPart(c.Progress, pullStage, kind, file.Size, "take %s %.12s from the shared cache %s", nameOf(kind), key, p.name)
	out := &counter{w: w}
	err = c.copy(ctx, out, file, kind, key, task)
	if isNotFound(err) {
		err = fault.Invalidf("the registry lacks its blob %s", file.Digest)
	}
	if err != nil {
		task.Add(-out.n)
		_ = task.End(nil, "not used") // judge says why
		return out.n, err
	}
	return out.n, task.End(nil, "")
}

// pullStage is the stage under which results from a registry are reported.
const pullStage = "shared cache"

// nameOf returns what people call a kind of result.
func nameOf(kind string) string {
	switch kind {
	case "segments":
		return "an archive"
	case "pieces":
		return "a packed layer"
	case "tar-split":
		return "a layer's framing"
	case "boot":
		return "a file to boot"
	case "reports":
		return "a size report"
	case "compiled":
		return "a kernel"
	}
	return kind
}

// find finds the file of a result, in limited time.
func (c *Cache) find(ctx context.Context, p *place, kind, key string) (*oci.ArtifactFile, error) {
	ctx, cancel := c.within(ctx, 0)
	defer cancel()
	a, err := c.Client.Artifact(ctx, p.name+":"+tagOf(kind, key))
	if err != nil {
		return nil, ended(ctx, err)
	}
	const mostResult = 16 << 30
	if len(a.Files) != 1 || a.Files[0].Size > mostResult {
		return nil, fault.Invalidf("its manifest %s is not that of a result", a.Digest)
	}
	return a.Files[0], nil
}

// within returns a context for a transfer of size bytes.
func (c *Cache) within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	most := c.Patience + time.Duration(size/leastSpeed)*time.Second
	return context.WithTimeoutCause(ctx, most, fault.Outsidef("it did not finish within %s", most))
}

// ended returns why ctx ended, or else err.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Cache) copy(ctx context.Context, w io.Writer, file *oci.ArtifactFile, kind, key string, task *progress.Task) (err error) {
	blob, err := file.Stream(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	return ended(ctx, unwrap(w, task.Reader(blob), kind, key, file.Size))
}

// Has reports whether a place has a result, and returns the place's name and the
// size of the result in bytes.
func (c *Cache) Has(ctx context.Context, kind, key string) (repository string, size int64, err error) {
	for _, p := range c.from {
		if p.failed.Load() {
			continue
		}
		file, err := c.find(ctx, p, kind, key)
		if err == nil {
			return p.name, file.Size, nil
		}
		if err := c.judge(ctx, p, kind, key, err); err != nil {
			return "", 0, err
		}
	}
	return "", 0, nil
}

// Offer implements [cache.Remote]. What is offered is pushed by [Cache.Push].
func (c *Cache) Offer(kind, key string, f *cache.File, from cache.Origin) {
	if !shares(kind) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if from == cache.Made {
		c.made++
	}
	made := offer{kind, key, f.Path()}
	at := c.found[tagOf(kind, key)]
	if c.To == "" || at != nil && at.name == c.To || slices.Contains(c.offers, made) {
		return
	}
	c.offers = append(c.offers, made)
}

// Summary returns a sentence for people about the results that came from the
// registries and those that were made; "" without any.
func (c *Cache) Summary() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.from) == 0 || c.used+c.made == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s) from the shared cache, %d made here", words.Count(c.used, "result"), words.Bytes(c.bytes), c.made)
}

var _ cache.Remote = (*Cache)(nil)
