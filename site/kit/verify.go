package kit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// Damage is something wrong with a kit.
type Damage struct {
	// File is the file in the archive, Of what needs it; either may be empty.
	File, Of string
	What     string
}

// String returns the damage in one line.
func (d Damage) String() string {
	subject := d.File
	if d.Of != "" {
		subject = strings.TrimSpace(subject + " of " + d.Of)
	}
	return subject + ": " + d.What
}

// Verify reads every byte of the kit. It compares each file with its checksum,
// and looks for everything that the images and the list of files name.
func (k *Kit) Verify(ctx context.Context, s progress.Sink) ([]Damage, error) {
	var all []Damage
	bad := map[v1.Hash]string{}
	for _, a := range k.archives {
		damages, err := a.verify(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, d := range damages {
			if hex, ok := strings.CutPrefix(d.File, blobPrefix); ok {
				bad[v1.Hash{Algorithm: "sha256", Hex: hex}] = d.What
				continue // reported with what needs it
			}
			all = append(all, d)
		}
	}
	uses := k.uses(bad)
	for hex, what := range byHex(bad) {
		of := uses.names[v1.Hash{Algorithm: "sha256", Hex: hex}]
		all = append(all, Damage{blobPrefix + hex, strings.Join(of, ", "), what})
	}
	return append(all, uses.missing...), nil
}

// byHex returns a map in a form that can be walked in order.
func byHex(bad map[v1.Hash]string) func(func(string, string) bool) {
	named := map[string]string{}
	for h, what := range bad {
		named[h.Hex] = what
	}
	return func(yield func(string, string) bool) {
		for _, hex := range sorted(named) {
			if !yield(hex, named[hex]) {
				return
			}
		}
	}
}

// verify hashes the files of one archive.
func (a *archive) verify(ctx context.Context, s progress.Sink) ([]Damage, error) {
	sums, damages := a.sums()
	var total int64
	for _, m := range a.members {
		total += m.size
	}
	task := progress.Start(s, total, "verify %s", a.path)
	for _, name := range sorted(a.members) {
		m := a.members[name]
		want, listed := sums[name]
		if name == sumsFile {
			continue
		}
		if hex, ok := strings.CutPrefix(name, blobPrefix); ok {
			want = hex
		}
		if !listed {
			damages = append(damages, Damage{File: name, What: "it is not listed in " + sumsFile})
		}
		if err := m.check(ctx, want); err != nil {
			if ctx.Err() != nil {
				return nil, task.End(ctx.Err(), "")
			}
			damages = append(damages, Damage{File: name, What: "it is damaged"})
		}
		task.Add(m.size)
	}
	for _, name := range sorted(sums) {
		if _, there := a.members[name]; !there {
			damages = append(damages, Damage{File: name, What: "it is not there"})
		}
	}
	if n := len(damages); n > 0 {
		_ = task.End(errors.New(words.Count(n, "problem")+" found"), "") // the caller names each
		return damages, nil
	}
	return nil, task.End(nil, "")
}

// sums reads the checksums of the archive.
func (a *archive) sums() (map[string]string, []Damage) {
	raw, err := a.small(sumsFile)
	if err != nil {
		return nil, []Damage{{File: sumsFile, What: err.Error()}}
	}
	sums := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return nil, []Damage{{File: sumsFile, What: fmt.Sprintf("it has the line %q, which is not a checksum and a name", lines.Text())}}
		}
		sums[name] = sum
	}
	return sums, nil
}

// usage is what needs which blob.
type usage struct {
	kit     *Kit
	bad     map[v1.Hash]string
	names   map[v1.Hash][]string
	missing []Damage
}

// uses finds what the images and files need, and what of that is missing.
func (k *Kit) uses(bad map[v1.Hash]string) *usage {
	u := &usage{kit: k, bad: bad, names: map[v1.Hash][]string{}}
	for _, image := range k.images {
		u.manifest(image.Root.Digest, image.Reference)
	}
	for _, f := range k.files {
		u.need(f.Digest, f.URL)
	}
	for _, l := range k.locals {
		u.need(l.Digest, l.Name)
	}
	return u
}

// need notes that name needs a blob. It reports whether that can be read.
func (u *usage) need(h v1.Hash, name string) bool {
	u.names[h] = append(u.names[h], name)
	if !u.kit.Has(h) {
		u.missing = append(u.missing, Damage{blobPrefix + h.Hex, name, "it is not there"})
		return false
	}
	return u.bad[h] == ""
}

// manifest notes what an image needs. Of an index it needs the images that are
// there, and one at least.
func (u *usage) manifest(h v1.Hash, name string) {
	if !u.need(h, name) {
		return
	}
	raw, err := u.kit.small(h)
	var children []v1.Descriptor
	isIndex := false
	if err == nil {
		children, isIndex, err = innerBlobs(raw)
	}
	if err != nil {
		u.missing = append(u.missing, Damage{blobPrefix + h.Hex, name, err.Error()})
		return
	}
	there := 0
	for _, child := range children {
		switch {
		case !isIndex:
			u.need(child.Digest, name)
		case u.kit.Has(child.Digest):
			there++
			u.manifest(child.Digest, name)
		}
	}
	if isIndex && there == 0 {
		u.missing = append(u.missing, Damage{blobPrefix + h.Hex, name, "none of the images that it lists is there"})
	}
}
