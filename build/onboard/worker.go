package onboard

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/worker"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Worker is the worker that goes on board: where it is from, and what it is.
type Worker struct {
	// Source is what the image is found by, as [oci.Client.Image] takes it.
	Source string
	// HookOS is the initramfs that it was lifted out of, a URL as it may be shown
	// or the name of a file, and HookOSDigest that file's; "" where it was not.
	HookOS, HookOSDigest string
	// From says where it is from, in words.
	From string
	// OfBundle reports whether it is that of the bundle: named by it, or out of the
	// HookOS that it names.
	OfBundle bool
	// Finding is which program it is. Digest is that of the image at its source,
	// "" where it has none, ID its image ID.
	Finding    worker.Finding
	Digest, ID string
}

// Upstream returns upstream's tink-agent at a reference as the worker.
func Upstream(reference string, need *bundles.WorkerNeed) *Worker {
	return &Worker{Source: reference, From: fmt.Sprintf("upstream's %s, of commit %.12s as boots", reference, need.Commit)}
}

// WorkerSource finds workers.
type WorkerSource interface {
	// Release finds the worker of a release whose bundle names none.
	Release(ctx context.Context, b *bundles.Bundle, need *bundles.WorkerNeed, arch string) (*Worker, error)
	// HookOS takes the worker out of a HookOS, a path or URL.
	HookOS(ctx context.Context, source string) (*Worker, error)
}

// findWorker finds the worker where the bundle does not name it, and puts it
// into the options of w.
func (p *Packer) findWorker(ctx context.Context, w *Wanted) (*Worker, error) {
	e := w.Embed
	if e.Bundle == nil || e.Options.NoWorker {
		return nil, nil
	}
	need, err := e.Bundle.Worker(w.DockerArch, e.Options.KubeVersion)
	if err != nil {
		return nil, err
	}
	switch {
	case e.Options.WorkerImage != "" && e.Upstream:
		return Upstream(e.Options.WorkerImage, need), nil
	case e.Options.WorkerImage != "":
		return &Worker{Source: e.Options.WorkerImage, From: "--worker-image"}, nil
	}
	var found *Worker
	switch {
	case e.WorkerFrom != "" && p.Workers != nil:
		found, err = p.Workers.HookOS(ctx, e.WorkerFrom)
	case need.Named:
		return &Worker{From: e.Bundle.String(), OfBundle: true}, nil
	case need.Agent && p.Workers != nil:
		found, err = p.Workers.Release(ctx, e.Bundle, need, w.DockerArch)
	default:
		return nil, nil // listing the images says what is missing
	}
	if err != nil {
		return nil, err
	}
	with := *e
	with.Options.WorkerImage = found.Source
	w.Embed = &with
	return found, nil
}

// Listed lists the images as [Embed.images] does, without the worker where it
// would have to be looked for; then it also returns where.
func (e *Embed) Listed(arch string) ([]bundles.Image, *bundles.WorkerNeed, error) {
	if e.Bundle == nil || e.Options.NoWorker || e.Options.WorkerImage != "" {
		images, err := e.images()
		return images, nil, err
	}
	need, err := e.Bundle.Worker(arch, e.Options.KubeVersion)
	if err != nil {
		return nil, nil, err
	}
	if e.WorkerFrom == "" && (need.Named || !need.Agent) {
		images, err := e.images()
		return images, nil, err
	}
	without := *e
	without.Options.NoWorker = true
	images, err := without.images()
	return images, need, err
}

// checkWorker looks at the worker's program. One that cannot talk to the
// release's server is an error.
func (p *Packer) checkWorker(ctx context.Context, s *Set) error {
	if s.Worker == nil {
		return nil
	}
	i := slices.IndexFunc(s.Images, bundles.Image.IsWorker)
	if i < 0 {
		return nil
	}
	image := s.Items[i].Image
	need, err := s.Embed.Bundle.Worker(s.DockerArch, s.Embed.Options.KubeVersion)
	if err != nil {
		return err
	}
	found, err := s.examine(ctx, image, s.Images[i], need)
	if err != nil {
		return fmt.Errorf("looking at the worker %s: %w", web.Show(s.Images[i].Source), err)
	}
	w := s.Worker
	w.Finding, w.ID = found, image.ID.String()
	w.Source = s.Images[i].Source
	if image.Reference != nil {
		w.Digest = image.IndexDigest.String()
	}
	if need.Agent && found.Kind == worker.TinkWorker {
		return fault.Invalidf("embedding the worker from %s: it is %s; the server of %s talks to tink-agent alone, so this worker would connect and never get work; "+
			"leave out --worker-from and --worker-image to take that of the release's own HookOS", w.From, found, s.Embed.Bundle)
	}
	if !need.Agent && found.Kind == worker.TinkAgent {
		return fault.Invalidf("embedding the worker from %s: it is %s; the server of %s talks to tink-worker alone, so this worker would connect and never get work; "+
			"leave out --worker-from and --worker-image to take the one that the bundle names", w.From, found, s.Embed.Bundle)
	}
	if !p.Told {
		progress.Notef(p.Progress, "%s", origin(w.From, found))
	}
	return nil
}

// origin says where the worker is from, what it is and why, unless the reason is
// where it is from.
func origin(from string, found worker.Finding) string {
	if strings.HasSuffix(found.Because, from) {
		return fmt.Sprintf("the worker is from %s; it is %s", from, found.Kind)
	}
	return fmt.Sprintf("the worker is from %s; it is %s", from, found)
}

// examine looks at the program of an image. That of the bundle's own worker is
// not fetched for it.
func (s *Set) examine(ctx context.Context, image *oci.Image, named bundles.Image, need *bundles.WorkerNeed) (worker.Finding, error) {
	look := worker.Image{Config: image.Config, Names: []string{named.Source}}
	if s.Worker.OfBundle {
		look.Bundle, look.OfBundle = s.Embed.Bundle.String(), worker.TinkWorker
		if need.Agent {
			look.OfBundle = worker.TinkAgent
		}
	}
	if s.Worker.OfBundle && s.Worker.HookOS == "" {
		return worker.Examine(look)
	}
	tree, err := image.Tree(ctx)
	if err != nil {
		return worker.Finding{}, err
	}
	look.Open = func(path string) (io.ReadCloser, error) {
		e, ok := tree.Find(strings.TrimPrefix(path, "/"))
		if !ok || e.Type != initramfs.Regular || e.Open == nil {
			return nil, fs.ErrNotExist
		}
		return e.Open()
	}
	return worker.Examine(look)
}

// WorkerRecord describes the worker for manifest.json; nil without one.
func (s *Set) WorkerRecord() *artifact.Worker {
	w := s.Worker
	if w == nil || w.ID == "" {
		return nil
	}
	r := &artifact.Worker{From: w.From, OfBundle: w.OfBundle, Source: SourceName(w.Source), Digest: w.Digest, ID: w.ID, Program: w.Finding.Kind.String(), Because: w.Finding.Because}
	if w.HookOS != "" {
		r.Source, r.Digest = w.HookOS, w.HookOSDigest
	}
	return r
}
