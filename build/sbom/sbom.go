// Package sbom lists what is in a finished HookOS, read from its bytes: an SPDX 2.3
// document (sbom.spdx.json), and the SLSA provenance of its manifest
// (provenance.json).
//
//	HookOS
//	  vmlinuz, initramfs and other files, by SHA-512
//	  the kernel, with the digest of its configuration
//	  the images of the root file system, by digest
//	  the packages of each file system in the initramfs that has a database
//	  firmware, file by file
//	  the embedded images, by ID, and the packages of each
//
// The databases are those of apk and dpkg. What an image has without a package
// manager is in its digest and nowhere else.
package sbom

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
)

// Make reads the HookOS in dir, of which m is the manifest. Builds in made, by ID, are
// not read again.
func Make(ctx context.Context, e *remaster.Editor, dir string, m artifact.Manifest, made map[string]*Document) (*Document, error) {
	return join(m, func(b artifact.Build) (*Document, error) {
		if d := made[b.ID]; d != nil {
			return d, nil
		}
		return read(ctx, e, dir, b)
	})
}

// List lists what is in one build of the HookOS in dir, whose initramfs is open.
func List(ctx context.Context, x *remaster.Existing, dir string, b artifact.Build) (*Document, error) {
	d := &Document{listed: map[string]bool{}}
	return d, d.build(ctx, dir, b, func(context.Context, string) (*unpacked, error) {
		store, err := x.Store()
		return &unpacked{x.Contents.Tree, store, func() error { return nil }}, err
	})
}

// MakeOnce is [Make] for files that are as the manifest lists them. What files with the
// same checksums had is taken from the cache.
func MakeOnce(ctx context.Context, e *remaster.Editor, dir string, m artifact.Manifest) (*Document, error) {
	return join(m, func(b artifact.Build) (*Document, error) {
		return once(ctx, e, b, func() (*Document, error) { return read(ctx, e, dir, b) })
	})
}

// Parts are what the initramfs of a build was made from.
type Parts struct {
	// Root is the root file system.
	Root *initramfs.Tree
	// Store is the path of the archive with the embedded images; "" for none.
	Store string
}

// MakeAhead puts the list of a build into the cache, where [MakeOnce] finds it. It is
// read from the parts, so that the initramfs need not be unpacked.
func MakeAhead(ctx context.Context, e *remaster.Editor, dir string, b artifact.Build, p Parts) error {
	_, err := once(ctx, e, b, func() (*Document, error) {
		d := &Document{listed: map[string]bool{}}
		return d, d.build(ctx, dir, b, func(ctx context.Context, _ string) (*unpacked, error) { return joinParts(ctx, e, p) })
	})
	return err
}

// once returns the list of a build from the cache. If it has none, the list is made.
func once(ctx context.Context, e *remaster.Editor, b artifact.Build, list func() (*Document, error)) (d *Document, err error) {
	key, err := digest.Key(e.Salt, b.ID, b.Arch, b.Artifacts, b.Images)
	if err != nil {
		return nil, err
	}
	f, _, err := e.Cache.Derived(ctx, "sboms", key, func(w io.Writer) error {
		made, err := list()
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(made)
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	d = &Document{}
	return d, json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(d)
}

// join makes the document of all builds from the parts of each.
func join(m artifact.Manifest, part func(artifact.Build) (*Document, error)) (*Document, error) {
	d := &Document{}
	for _, b := range m.Builds {
		one, err := part(b)
		if err != nil {
			return nil, fmt.Errorf("listing what is in %s: %w", b.ID, err)
		}
		d.Packages, d.Relationships = append(d.Packages, one.Packages...), append(d.Relationships, one.Relationships...)
	}
	return d, d.finish(m)
}

// read lists what is in one build.
func read(ctx context.Context, e *remaster.Editor, dir string, b artifact.Build) (*Document, error) {
	d := &Document{listed: map[string]bool{}}
	return d, d.build(ctx, dir, b, func(ctx context.Context, packed string) (*unpacked, error) { return unpack(ctx, e, packed) })
}

// unpacked is an initramfs whose files can be read.
type unpacked struct {
	tree  *initramfs.Tree
	store *embed.Store // nil without embedded images
	close func() error
}

// unpack unpacks what an SBOM is made from of the initramfs at path.
func unpack(ctx context.Context, e *remaster.Editor, path string) (*unpacked, error) {
	x, err := e.OpenSome(ctx, path, isRead)
	if err != nil {
		return nil, err
	}
	store, err := x.Store()
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return &unpacked{x.Contents.Tree, store, x.Close}, nil
}

func joinParts(ctx context.Context, e *remaster.Editor, p Parts) (*unpacked, error) {
	if p.Store == "" {
		return &unpacked{p.Root, nil, func() error { return nil }}, nil
	}
	u, err := unpack(ctx, e, p.Store)
	if err != nil {
		return nil, err
	}
	u.tree = p.Root
	return u, nil
}

func (d *Document) build(ctx context.Context, dir string, b artifact.Build, open func(ctx context.Context, packed string) (*unpacked, error)) error {
	whole := d.add("DESCRIBES", root, Package{Name: nameOf(b), Comment: b.Arch})
	var vmlinuz, packed string
	for _, f := range b.Artifacts {
		d.add(contains, whole, Package{Name: f.Name, FileName: f.Name, Checksums: []Checksum{{"SHA512", strings.ToLower(f.SHA512)}}})
		switch {
		case f.Link != "":
		case strings.HasPrefix(f.Name, "vmlinuz-"):
			vmlinuz = f.Name
		case strings.HasPrefix(f.Name, "initramfs-"):
			packed = f.Name
		}
	}
	for _, i := range b.Images {
		d.add(contains, whole, Package{Name: i.Reference, Checksums: sha256sum(i.Digest), Comment: "container image, of the root file system"})
	}
	if packed == "" {
		return nil
	}
	u, err := open(ctx, filepath.Join(dir, packed))
	if err != nil {
		return err
	}
	return errors.Join(d.contents(ctx, u, filepath.Join(dir, vmlinuz), whole), u.close())
}

// contents adds what an initramfs and its kernel have.
func (d *Document) contents(ctx context.Context, u *unpacked, vmlinuz, whole string) error {
	if err := d.kernel(ctx, vmlinuz, u.tree, whole); err != nil {
		return err
	}
	for entry := range u.tree.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.file(ctx, entry, whole); err != nil {
			return err
		}
	}
	if u.store == nil {
		return nil
	}
	for _, image := range u.store.Images() {
		if err := d.embedded(ctx, u.store, image, whole); err != nil {
			return err
		}
	}
	return nil
}

// kernel adds the kernel with the digest of its configuration.
func (d *Document) kernel(ctx context.Context, vmlinuz string, tree *initramfs.Tree, whole string) (err error) {
	k, err := kernel.FromParts(ctx, vmlinuz, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	image, content, err := k.Inspect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	facts, err := image.Scan(ctx)
	if err != nil {
		return err
	}
	comment := "kernel; it does not carry its configuration"
	if len(facts.Config) > 0 {
		comment = "kernel; its configuration is " + digest.OfBytes(facts.Config)
	}
	d.add(contains, whole, Package{
		Name: "linux", Version: k.Release, Comment: comment,
		References: []Reference{{"PACKAGE-MANAGER", "purl", "pkg:generic/linux@" + k.Release}},
	})
	return nil
}

// isRead reports whether an SBOM is made from the content of a file, and not from its
// name alone.
func isRead(e initramfs.Entry) bool {
	_, kind := databaseAt(e.Path)
	return inStore(e.Path) || isFirmware(e.Path) || kind != ""
}

func inStore(name string) bool { return strings.HasPrefix(name, embed.StorePath+"/") }

func isFirmware(name string) bool {
	return strings.HasPrefix(name, "lib/firmware/") || strings.HasPrefix(name, "usr/lib/firmware/")
}

// databaseAt returns the kind of the package database at name, and the directory of the
// file system that it belongs to. It returns "" for any other file.
func databaseAt(name string) (at, kind string) {
	for place, kind := range databases() {
		at, found := strings.CutSuffix("/"+name, "/"+place)
		if found && (kind != "apk" || !strings.HasSuffix(at, "/usr")) { // usr/lib/apk ends in lib/apk too
			return "/" + strings.TrimPrefix(at, "/"), kind
		}
	}
	return "", ""
}

// file adds a firmware file, or the packages of a database in the root file system.
func (d *Document) file(ctx context.Context, e initramfs.Entry, whole string) error {
	if e.Type != initramfs.Regular || inStore(e.Path) {
		return nil
	}
	if isFirmware(e.Path) {
		h := sha256.New()
		if err := initramfs.CopyContent(ctx, h, e); err != nil {
			return err
		}
		d.add(contains, whole, Package{
			Name: e.Path, FileName: e.Path, Comment: "firmware", Checksums: []Checksum{{"SHA256", hex.EncodeToString(h.Sum(nil))}},
		})
		return nil
	}
	at, kind := databaseAt(e.Path)
	if kind == "" || e.Open == nil {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	return d.database(r, kind, whole, "in the root file system at "+at)
}

// database adds the packages of a database, and closes it.
func (d *Document) database(r io.ReadCloser, kind, parent, comment string) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	all, err := readDatabase(r, kind)
	if err != nil {
		return err
	}
	for _, p := range all {
		d.add(contains, parent, Package{
			Name: p.Name, Version: p.Version, Comment: comment, References: []Reference{{"PACKAGE-MANAGER", "purl", p.url()}},
		})
	}
	return nil
}

// embedded adds an embedded image and its packages.
func (d *Document) embedded(ctx context.Context, store *embed.Store, image embed.Embedded, whole string) error {
	id := d.add(contains, whole, Package{
		Name: strings.Join(slices.Concat(image.Names, image.Digests), " "), Version: image.ID.String(),
		Comment: "embedded container image", Checksums: sha256sum(image.ID.String()),
	})
	if len(image.Names) == 0 {
		return nil
	}
	for _, place := range slices.Sorted(maps.Keys(databases())) {
		r, err := store.OpenFile(ctx, image.Names[0], place)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := d.database(r, databases()[place], id, "in the embedded image"); err != nil {
			return err
		}
	}
	return nil
}
