package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
)

// layerKind is the cache's kind for uncompressed layers, by diffID.
const layerKind = "layers"

// Layer is one layer of an image.
type Layer struct {
	// Digest is that of the layer as its source has it, compressed or not, and
	// Size its length in bytes. Both are zero for the output of docker save,
	// which states neither.
	Digest v1.Hash
	Size   int64
	// DiffID is the digest of the uncompressed tar archive.
	DiffID    v1.Hash
	MediaType types.MediaType

	client        *Client
	image         string
	number, count int
	// host is the registry of the layer; empty for files and engines, where
	// nothing is damaged in transit.
	host string
	// open opens the layer as its source has it. The descriptor says what is
	// read: Digest and Size, or those of a mirror that compressed the layer anew.
	open func(context.Context) (io.ReadCloser, v1.Descriptor, error)
}

// Tar opens the layer's uncompressed tar archive, whose hash is DiffID. The
// first use fetches it from the image's source into the cache.
func (l *Layer) Tar(ctx context.Context) (*cache.File, error) {
	release, err := l.client.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	f, err := l.client.cache.Blob(ctx, layerKind, l.DiffID)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.fetch(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", l, err)
	}
	return f, nil
}

// Entries returns the layer's files in the archive's order, including
// whiteouts; see [tarball.Entries]. The layer's file in the cache stays open as
// long as any of the entries is referenced.
func (l *Layer) Entries(ctx context.Context) ([]initramfs.Entry, error) {
	f, err := l.Tar(ctx)
	if err != nil {
		return nil, err
	}
	adjusted := map[tarball.Adjustment][]string{}
	entries, err := tarball.List(f, f.Size(), l.String(), tarball.Options{
		MostSparse: l.client.mostUnpacked,
		Adjusted:   func(name string, a tarball.Adjustment) { adjusted[a] = append(adjusted[a], name) },
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for _, a := range slices.Sorted(maps.Keys(adjusted)) {
		progress.Warnf(l.client.sink, "%s: %s: %s, first %q; Linux keeps the lower bits, as it does under Docker",
			l, words.Count(len(adjusted[a]), "file"), a, adjusted[a][0])
	}
	return entries, nil
}

// String returns the layer's name for messages.
func (l *Layer) String() string { return fmt.Sprintf("image %s, layer %d", l.image, l.number) }

// slot waits until another layer may be fetched.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch fetches the layer into the cache in one pass: network, digest,
// decompression, diffID, file.
func (l *Layer) fetch(ctx context.Context) (*cache.File, error) {
	var task *progress.Task // starts once the layer must be fetched
	var f *cache.File
	err := l.client.untilWhole(ctx, l.host, func() (err error) {
		f, err = l.client.cache.PutBlob(ctx, layerKind, l.DiffID, func(w io.Writer) error {
			if task == nil {
				task = progress.StartPart(l.client.sink, l.client.pulling("images"), fmt.Sprintf("%s %d/%d", shortName(l.image), l.number, l.count), l.Size,
					"%s", l.client.pulling(fmt.Sprintf("%s, layer %d of %d,", l.image, l.number, l.count)))
			}
			return l.unpack(ctx, w, task)
		})
		return err
	})
	var wrong *cache.DigestError
	if errors.As(err, &wrong) {
		err = invalid("it unpacks to %s, but the image's configuration says %s: the image is damaged, pull or build it again at its source", wrong.Got, wrong.Want)
	}
	if task != nil {
		err = task.End(err, "")
	}
	return f, err
}

// pulling says for progress what is done to get a thing, which is not a pull if a kit
// has it. Of images, it is the stage under which layers and artifacts are reported.
func (c *Client) pulling(thing string) string {
	if !c.net.web.Local() {
		thing = strings.TrimSuffix(thing, ",")
	}
	return c.net.web.Doing("pull", thing)
}

// shortName returns the last part of a reference's repository and its tag:
// "cexec v1" of "registry.example/tinkerbell/cexec:v1@sha256:...".
func shortName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	ref = ref[strings.LastIndex(ref, "/")+1:]
	repository, tag, _ := strings.Cut(ref, ":")
	return strings.TrimSpace(repository + " " + tag)
}

// untilWhole repeats f while the content from the registry does not have its
// digest: something on the way damaged it.
func (c *Client) untilWhole(ctx context.Context, host string, f func() error) error {
	if host == "" {
		return f()
	}
	return c.net.web.Repeat(ctx, host, func() error {
		err := f()
		var changed *spoiltError
		if errors.As(err, &changed) {
			return err
		}
		return web.Final(err)
	})
}

func (l *Layer) unpack(ctx context.Context, w io.Writer, task *progress.Task) error {
	blob, is, err := l.open(ctx)
	if err != nil {
		return err
	}
	checked := newVerifier(task.Reader(blob), is.Digest, is.Size)
	err = l.client.decompressTo(w, checked, func() {
		progress.Warnf(l.client.sink, "%s: ignoring the data after its gzip stream, as Docker does", l)
	})
	if err == nil || fault.KindOf(err) == fault.Invalid {
		if verifyErr := checked.finish(); verifyErr != nil {
			err = verifyErr // it explains why decompressing failed
		}
	}
	if err != nil {
		task.Add(-checked.read) // it may be read again
	}
	return closing(err, blob)
}

// decompressTo writes the decompressed content of r. Trailing is called for
// bytes after a gzip stream, which are an error if it is nil.
func (c *Client) decompressTo(w io.Writer, r io.Reader, trailing func()) error {
	plain, err := tarball.Decompressor{Most: c.mostUnpacked, Trailing: trailing}.Open(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, plain)
	return closing(err, plain)
}

// verifier reads content of known size and digest.
type verifier struct {
	r    io.Reader
	sum  hash.Hash
	want v1.Hash
	left int64
	read int64
	err  error // of r
}

// newVerifier verifies what is read from r, unless digest and size are not
// known.
func newVerifier(r io.Reader, want v1.Hash, size int64) *verifier {
	if want == (v1.Hash{}) {
		size = math.MaxInt64 - 1
	}
	return &verifier{r: r, sum: sha256.New(), want: want, left: size}
}

// Read returns at most one byte too many, whatever the source sends.
func (v *verifier) Read(p []byte) (int, error) {
	if v.left < 0 {
		return 0, io.EOF
	}
	n, err := v.r.Read(p[:min(int64(len(p)), v.left+1)])
	v.left -= int64(n)
	v.read += int64(n)
	v.sum.Write(p[:n])
	if err != nil && err != io.EOF {
		v.err = err
	}
	return n, err
}

// finish reads the rest and reports whether the whole has the expected size and
// digest.
func (v *verifier) finish() error {
	if v.err == nil {
		_, v.err = io.Copy(io.Discard, v)
	}
	if v.err != nil {
		return v.err
	}
	got := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(v.sum.Sum(nil))}
	switch {
	case v.want == v1.Hash{}:
		return nil
	case v.left < 0:
		return fault.Invalidf("%s is longer than its manifest says", v.want)
	case v.left > 0:
		return fault.Invalidf("%s is %d bytes shorter than its manifest says", v.want, v.left)
	case got != v.want:
		return spoilt(v.want, got)
	}
	return nil
}

// readBounded reads a manifest or configuration of at most most bytes.
func readBounded(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = invalid("it is longer than the limit of %d bytes", most)
	}
	return raw, err
}

// readSmall reads and verifies a manifest or configuration.
func readSmall(r io.Reader, want v1.Hash, most int64) ([]byte, error) {
	raw, err := readBounded(r, most)
	if err != nil {
		return nil, err
	}
	if got := hashOf(raw); got != want {
		return nil, spoilt(want, got)
	}
	return raw, nil
}

// spoiltError reports content that does not have the requested digest.
type spoiltError struct{ want, got v1.Hash }

func (e *spoiltError) Error() string {
	return fmt.Sprintf("the content received for %s has the digest %s: something on the way changed it; try again, or use another source", e.want, e.got)
}

func spoilt(want, got v1.Hash) error { return fault.Mark(&spoiltError{want, got}, fault.Invalid) }

func hashOf(raw []byte) v1.Hash {
	sum := sha256.Sum256(raw)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
