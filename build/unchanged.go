package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"hookbuild/build/artifact"
	"hookbuild/internal/digest"
	"hookbuild/internal/progress"
)

// publishedKind is the cache's name for notes about published artifacts: the state of
// the files, by what they were made from and where they are.
const publishedKind = "published"

// unchanged returns the result of an earlier build of the same plan if its files are
// as that build left them. Otherwise it returns nil.
func (b *Builder) unchanged(p *plan, key string) (*Result, error) {
	if key == "" {
		return nil, nil
	}
	left, err := b.Cache.Note(publishedKind, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	published := p.published()
	state, err := published.State()
	if errors.Is(err, fs.ErrNotExist) || err == nil && state != left {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the existing artifacts: %w", err)
	}
	made, err := buildAt(published, p.OutputID, p.Flavor.Arch)
	if made == nil || err != nil {
		return nil, err
	}
	published.Artifacts, published.Worker, published.Embedded = made.Artifacts, made.Worker, made.Embedded
	task := progress.Start(b.Progress, 0, "publish the artifacts in %s", p.Out)
	return &Result{Published: published, Size: made.Size}, task.End(nil, "nothing changed")
}

// buildAt returns the build that the manifest of published files has under an ID, or nil.
func buildAt(p artifact.Published, id, arch string) (*artifact.Build, error) {
	m, err := artifact.ReadManifest(filepath.Join(p.Dir, artifact.ManifestFile))
	if err != nil {
		return nil, err
	}
	for _, made := range m.Builds {
		if made.ID == id && made.Arch == arch {
			return &made, nil
		}
	}
	return nil, nil
}

// remember notes the state of what was published. Without the note, the next build
// writes the files again. Another process may have published or removed files in the
// same place since: then nothing is noted.
func (b *Builder) remember(plan *plan, p artifact.Published, key string) error {
	if key == "" {
		return nil
	}
	p.Settle()
	state, err := p.State()
	if err != nil {
		return ignoreAbsent(fmt.Errorf("looking at the published artifacts: %w", err))
	}
	// The manifest is read last: it appears together with the files that it lists.
	made, err := buildAt(p, plan.OutputID, plan.Flavor.Arch)
	if err != nil || made == nil || !slices.Equal(made.Artifacts, p.Artifacts) {
		return ignoreAbsent(err)
	}
	return b.Cache.SetNote(publishedKind, key, state)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// published returns where the artifacts of p are.
func (p *plan) published() artifact.Published {
	return artifact.Published{Dir: filepath.Join(p.Out, p.Name), Tarball: filepath.Join(p.Out, artifact.TarballName(p.Name, p.OutputID))}
}

// resultKey returns a hash of everything that a plan's artifacts are made from, and
// of their place. It returns "" for plans whose artifacts are always written: a root
// file system alone; an ISO image, whose loader is read only when it is written, and
// whose link in OUT is not among the files that are compared; and all plans with a
// shared cache, to which results are pushed.
func (b *Builder) resultKey(ctx context.Context, p *plan) (string, error) {
	if p.kernel == nil || p.ISO != nil || b.Cache.HasRemote() {
		return "", nil
	}
	root, err := p.assembly.segmentKey(p.Segment)
	if err != nil {
		return "", err
	}
	store := ""
	if p.store != nil {
		if store, err = b.packer().Key(p.store, p.can); err != nil {
			return "", err
		}
	}
	record, err := b.record(ctx, p, &made{}, nil)
	if err != nil {
		return "", err
	}
	description, err := json.Marshal(record)
	if err != nil {
		return "", fmt.Errorf("describing the artifacts: %w", err)
	}
	out, err := filepath.Abs(p.Out)
	if err != nil {
		return "", fmt.Errorf("finding the output directory: %w", err)
	}
	return digest.Key(struct {
		Salt, Root, Store, Kernel, Record, Out, Name string
		Tar, NoSBOM                                  bool
		MaxSize                                      int64
	}{b.Salt, root, store, p.kernel.Digest, string(description), out, p.Name, p.Tar, p.NoSBOM, p.MaxSize})
}
