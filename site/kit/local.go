package kit

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/internal/unpack"
	"hookbuild/site/lock"
)

// Local is a file or directory of the machine that the kit was made on.
type Local struct {
	// Name is its path as the lock has it: relative to the directory of the lock,
	// or absolute. That of a checkout is [CheckoutName].
	Name string
	Kind Kind
	// Digest and Size are those of the file, or of a tar archive of the directory.
	Digest v1.Hash
	Size   int64
}

// Kind says what a [Local] is.
type Kind string

// The kinds.
const (
	kindFile     Kind = "file"
	KindTree     Kind = "tree"     // a directory
	KindCheckout Kind = "checkout" // the Hook checkout, a directory
	kindConfig   Kind = "config"   // hookbuild.yaml
)

// CheckoutName is the name of the Hook checkout.
const CheckoutName = "hook"

// The keys of the index for local files.
const (
	pathKey = "hookbuild.path"
	kindKey = "hookbuild.kind"
)

// AddFile adds the file at path under a name of the lock.
func (p *Plan) AddFile(ctx context.Context, name, path string) error {
	open := func(context.Context) (io.ReadCloser, error) { return os.Open(path) }
	return p.addLocal(ctx, Local{Name: name, Kind: kindFile}, open)
}

// AddConfig adds hookbuild.yaml under its name.
func (p *Plan) AddConfig(ctx context.Context, name string, text []byte) error {
	open := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(text))), nil
	}
	return p.addLocal(ctx, Local{Name: name, Kind: kindConfig}, open)
}

// AddTree adds the files of the directory dir under a name of the lock. Leave, which
// may be nil, reports whether a path below dir is left out.
func (p *Plan) AddTree(ctx context.Context, name string, kind Kind, dir string, leave func(path string, d fs.DirEntry) bool) error {
	open := func(ctx context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeTree(ctx, w, dir, leave)) }()
		return r, nil
	}
	return p.addLocal(ctx, Local{Name: name, Kind: kind}, open)
}

// addLocal adds what open opens, which is read here for its digest and again when
// the kit is written.
func (p *Plan) addLocal(ctx context.Context, l Local, open func(context.Context) (io.ReadCloser, error)) error {
	if slices.ContainsFunc(p.Locals, func(o Local) bool { return o.Name == l.Name }) {
		return nil
	}
	r, err := open(ctx)
	if err != nil {
		return fault.Invalidf("gathering %q: %w", l.Name, err)
	}
	sum := sha256.New()
	l.Size, err = io.Copy(sum, ctxio.Reader(ctx, r))
	if err := errors.Join(err, r.Close()); err != nil {
		return fault.Invalidf("gathering %q: %w", l.Name, err)
	}
	l.Digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	p.Locals = append(p.Locals, l)
	p.Blobs = append(p.Blobs, Blob{Digest: l.Digest, Size: l.Size, For: l.Name, Open: open})
	return nil
}

// writeTree writes a directory as a tar archive. Equal files make equal archives: of
// modes only whether a file is executable is kept, and no times or owners.
func writeTree(ctx context.Context, w io.Writer, dir string, leave func(string, fs.DirEntry) bool) error {
	out := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, at)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		if leave != nil && leave(name, d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return writeEntry(out, name, at, d)
	})
	return errors.Join(err, out.Close())
}

func writeEntry(out *tar.Writer, name, at string, d fs.DirEntry) error {
	header := &tar.Header{Name: name, Mode: 0o644, Format: tar.FormatPAX}
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch kind := info.Mode().Type(); kind {
	case fs.ModeDir:
		header.Typeflag, header.Name, header.Mode = tar.TypeDir, name+"/", 0o755
		return out.WriteHeader(header)
	case fs.ModeSymlink:
		header.Typeflag = tar.TypeSymlink
		if header.Linkname, err = os.Readlink(at); err != nil {
			return err
		}
		return out.WriteHeader(header)
	case 0:
	default:
		return fmt.Errorf("%q is neither a file, a directory nor a symlink", at)
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if info.Mode()&0o100 != 0 {
		header.Mode = 0o755
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return errors.Join(err, f.Close())
}

// checkLocal reports a name that no kit has.
func checkLocal(l Local) error {
	kinds := []Kind{kindFile, KindTree, KindCheckout, kindConfig}
	if !slices.Contains(kinds, l.Kind) || l.Name == "" || l.Name == "." || strings.ContainsAny(l.Name, "\x00\\") || path.Clean(l.Name) != l.Name || levelsUp(l.Name) > mostUp || l.Name == ".." || strings.HasSuffix(l.Name, "/..") {
		return fmt.Errorf("%q of the kind %q is not a file of a kit", l.Name, l.Kind)
	}
	return nil
}

// Site is the local part of a kit: a directory with the lock, and the files beside
// it as they were on the machine that the kit was made on.
type Site struct {
	// Dir has the lock; its relative names start there.
	Dir string
	// Checkout is the Hook checkout's directory, Config the path of hookbuild.yaml;
	// either is empty if the kit has none.
	Checkout, Config string

	paths map[string]string // by the names of the lock
}

// Paths returns where the files are, by the names that the lock has for them.
func (s *Site) Paths() map[string]string { return maps.Clone(s.paths) }

// siteFile describes the local part of a kit, in the directory above it.
const siteFile = "kit.json"

// siteRecord is the content of siteFile. Its paths are relative to it.
type siteRecord struct {
	Dir    string            `json:"dir"`
	Names  map[string]string `json:"names"`
	Kinds  map[string]Kind   `json:"kinds"`
	Digest string            `json:"digest"`
}

// Locals lists the files and directories of the machine that the kit was made on.
func (k *Kit) Locals() []Local { return slices.Clone(k.locals) }

// Unpack returns the local part of the kit, in a directory below dir. Its files are
// those of the kit: what differs is written anew.
func (k *Kit) Unpack(ctx context.Context, dir string, s progress.Sink) (*Site, error) {
	record := k.record()
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return nil, err
	}
	entries := []initramfs.Entry{
		{Path: siteFile, Type: initramfs.Regular, Mode: 0o644, Size: int64(len(text)), Open: opener(text)},
	}
	newest := k.archives[len(k.archives)-1].lock
	entries = append(entries, initramfs.Entry{Path: path.Join(record.Dir, lock.Name), Type: initramfs.Regular, Mode: 0o644, Size: int64(len(newest)), Open: opener(newest)})
	for _, l := range k.locals {
		own, err := k.entriesOf(ctx, l, record.Names[l.Name])
		if err != nil {
			return nil, fmt.Errorf("unpacking %q of %s: %w", l.Name, k, err)
		}
		entries = append(entries, own...)
	}
	at := filepath.Join(dir, record.Digest[:16])
	if err := unpack.Provide(ctx, at, entries, "what was unpacked of "+k.String(), s); err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", k, err)
	}
	return OpenSite(at)
}

func opener(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(content))), nil }
}

// record says where the local files go. Those with a relative name lie to each
// other as on the machine that the kit was made on, so that files which name others
// find these.
func (k *Kit) record() siteRecord {
	up := 0
	for _, l := range k.locals {
		up = max(up, levelsUp(l.Name))
	}
	r := siteRecord{Dir: "site" + strings.Repeat("/site", up), Names: map[string]string{}, Kinds: map[string]Kind{}}
	sum := sha256.New()
	for _, l := range k.locals {
		r.Kinds[l.Name] = l.Kind
		switch {
		case l.Kind == KindCheckout:
			r.Names[l.Name] = "hook"
		case path.IsAbs(l.Name):
			r.Names[l.Name] = "absolute" + l.Name
		default:
			r.Names[l.Name] = path.Join(r.Dir, l.Name)
		}
		fmt.Fprintf(sum, "%q %s %s\n", l.Name, l.Kind, l.Digest)
	}
	sum.Write(k.archives[len(k.archives)-1].lock)
	r.Digest = hex.EncodeToString(sum.Sum(nil))
	return r
}

// levelsUp counts how far above the lock's directory a name begins.
func levelsUp(name string) (n int) {
	for strings.HasPrefix(name, "../") {
		n, name = n+1, name[len("../"):]
	}
	return n
}

// mostUp bounds [levelsUp].
const mostUp = 64

// entriesOf returns the files of a local, to be placed at a path.
func (k *Kit) entriesOf(ctx context.Context, l Local, at string) ([]initramfs.Entry, error) {
	content, err := k.open(ctx, l.Digest)
	if err != nil {
		return nil, err
	}
	if l.Kind == kindFile || l.Kind == kindConfig {
		open := func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(content, 0, content.Size())), nil
		}
		return []initramfs.Entry{{Path: at, Type: initramfs.Regular, Mode: 0o644, Size: content.Size(), Open: open}}, nil
	}
	inner, err := tarball.Entries(content, content.Size(), l.Name)
	if err != nil {
		return nil, err
	}
	all := []initramfs.Entry{{Path: at, Type: initramfs.Dir, Mode: 0o755}}
	for _, e := range inner {
		if e.Path == "" {
			continue
		}
		e.Path = path.Join(at, e.Path)
		if e.Type == initramfs.HardLink {
			return nil, invalid("it has the hard link %q, which no kit has", e.Path)
		}
		all = append(all, e)
	}
	return all, nil
}

// OpenSite opens what [Kit.Unpack] wrote.
func OpenSite(dir string) (*Site, error) {
	text, err := os.ReadFile(filepath.Join(dir, siteFile))
	if err != nil {
		return nil, fmt.Errorf("opening what a kit had: %w", err)
	}
	var r siteRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("opening what a kit had: reading %q: %w", filepath.Join(dir, siteFile), err)
	}
	cache.MarkTree(dir)
	s := &Site{Dir: filepath.Join(dir, filepath.FromSlash(r.Dir)), paths: map[string]string{}}
	for name, at := range r.Names {
		full := filepath.Join(dir, filepath.FromSlash(at))
		s.paths[name] = full
		switch r.Kinds[name] {
		case KindCheckout:
			s.Checkout = full
		case kindConfig:
			s.Config = full
		}
	}
	return s, nil
}
