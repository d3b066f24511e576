// Package deliver puts finished kernel images where the user wants them: into
// the local Docker, a registry, an OCI layout or a docker archive. An image's
// name identifies its content. Therefore an image that one of these places
// already has is not built again but copied from there unchanged.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Options specify where a kernel image is put.
type Options struct {
	// NoLoad keeps the image out of the local Docker. An image that Docker
	// already has is still used.
	NoLoad bool
	// Push sends the image to its registry.
	Push bool
	// Export is the path to write the image to: a docker archive if it ends in
	// .tar or .tar.gz, otherwise an OCI layout. Empty means no export.
	Export string
	// ExportDir gets a docker archive with the image's name where Export is
	// empty. Empty means no export.
	ExportDir string
	// Force builds the image even if it already exists.
	Force bool
	// Offline does not contact registries.
	Offline bool
	// Client finds and reads images in registries, with their mirrors. It must
	// be set unless Offline or Force is, and Push is not.
	Client *oci.Client
	// Web sends images to registries; nil means a client with the default
	// limits.
	Web *web.Client
	// Insecure lists registries that may use plain HTTP.
	Insecure []string
	// Keychain provides the logins; nil means those of docker login and its
	// helpers.
	Keychain authn.Keychain
	Progress progress.Sink
}

// Made is an image. Its content may be in files, which Discard removes.
type Made struct {
	Image   v1.Image
	Discard func() error
}

// Producer returns an image that it builds or reads from where it is.
type Producer func(context.Context) (*Made, error)

// place is a location that can hold an image.
type place interface {
	fmt.Stringer
	// find returns a function that reads the image with this name, or nil if
	// there is no such image.
	find(ctx context.Context, ref string) (Producer, error)
	// put writes the image under this name.
	put(ctx context.Context, ref string, image v1.Image) error
}

// Path returns the path to which the image ref is exported; "" means no export.
func (o Options) Path(ref string) string {
	if o.Export != "" || o.ExportDir == "" {
		return o.Export
	}
	return filepath.Join(o.ExportDir, strings.ReplaceAll(path.Base(ref), ":", "-")+".tar.gz")
}

// Deliver puts the image ref into all places that o names. If one of them has
// it, or the local Docker, or the registry that ref names, the image is copied
// from there unchanged. Deliver calls produce only if no place has the image or
// o.Force is set.
func Deliver(ctx context.Context, ref string, o Options, produce Producer) error {
	d := &delivery{ref: ref, o: o}
	if !o.Force {
		if err := d.search(ctx); err != nil {
			return err
		}
	}
	goals, have := d.goals()
	if have != nil {
		produce = have
	}
	if have != nil && len(goals) == 0 {
		return nil
	}
	made, err := produce(ctx)
	if err != nil {
		return err
	}
	for _, put := range goals {
		if err := put(ctx, made.Image); err != nil {
			return errors.Join(err, made.Discard())
		}
	}
	return made.Discard()
}

// delivery is the delivery of one image, with what was found of it in each
// place.
type delivery struct {
	ref string
	o   Options

	docker, export, registry Producer
}

// goals returns functions that put the image into the places that lack it, and
// a function that reads it from the nearest place that has it. An image that is
// in its registry is not put into Docker, which can pull it.
func (d *delivery) goals() (goals []func(context.Context, v1.Image) error, have Producer) {
	add := func(at place) {
		goals = append(goals, func(ctx context.Context, image v1.Image) error { return at.put(ctx, d.ref, image) })
	}
	if at := d.exportPlace(); at != nil && d.export == nil {
		goals = append(goals, func(ctx context.Context, image v1.Image) error {
			task := progress.Start(d.o.Progress, 0, "export %s", d.ref)
			return task.End(at.put(ctx, d.ref, image), at.String())
		})
	}
	if !d.o.NoLoad && d.docker == nil && d.registry == nil {
		goals = append(goals, d.load)
	}
	if d.o.Push && d.registry == nil {
		add(d.registryPlace())
	}
	for _, p := range []Producer{d.docker, d.export, d.registry} {
		if p != nil {
			return goals, p
		}
	}
	return goals, nil
}

func (d *delivery) registryPlace() Registry {
	return Registry{
		Client: d.o.Client, Web: d.o.Web, Insecure: d.o.Insecure, Keychain: d.o.Keychain, Progress: d.o.Progress, Itself: d.o.Push,
	}
}

// exportPlace returns the place to which the image is exported; nil means no
// export.
func (d *delivery) exportPlace() place {
	path := d.o.Path(d.ref)
	switch {
	case path == "":
		return nil
	case strings.HasSuffix(path, ".tar"), strings.HasSuffix(path, ".tar.gz"):
		return archive(path)
	}
	return directory(path)
}

// search looks for the image in all places.
func (d *delivery) search(ctx context.Context) (err error) {
	if d.docker, err = d.searchDocker(ctx); err != nil {
		return err
	}
	if at := d.exportPlace(); at != nil {
		if d.export, err = d.searchIn(ctx, at); err != nil {
			return err
		}
	}
	d.registry, err = d.searchRegistry(ctx)
	return err
}

// searchIn looks in one place and tells the user if it has the image.
func (d *delivery) searchIn(ctx context.Context, at place) (Producer, error) {
	p, err := at.find(ctx, d.ref)
	if p != nil {
		progress.Notef(d.o.Progress, "%s already has %s; --force builds it again", at, d.ref)
	}
	return p, err
}

// searchDocker looks in the local Docker. A missing Docker matters only if the
// image must go there; see [delivery.load].
func (d *delivery) searchDocker(ctx context.Context) (Producer, error) {
	api, err := dockerhost.Connect(ctx)
	if err != nil {
		return nil, ctx.Err()
	}
	p, err := d.searchIn(ctx, docker{api})
	return p, errors.Join(err, api.Close())
}

// searchRegistry asks the registry if its answer matters: for a push, or if no
// nearer place has the image. A registry that does not answer is an error only
// for a push.
func (d *delivery) searchRegistry(ctx context.Context) (Producer, error) {
	if d.o.Offline || !d.o.Push && (d.docker != nil || d.export != nil) {
		return nil, nil
	}
	p, err := d.searchIn(ctx, d.registryPlace())
	if err != nil && !d.o.Push {
		progress.Notef(d.o.Progress, "no published kernel image could be looked up; building it here: %v", err)
		return nil, ctx.Err()
	}
	return p, err
}

// load puts the image into Docker. A missing Docker is an error only if the
// image goes nowhere else.
func (d *delivery) load(ctx context.Context, image v1.Image) error {
	api, err := dockerhost.Connect(ctx)
	if err != nil {
		if d.o.Push || d.o.Path(d.ref) != "" {
			progress.Notef(d.o.Progress, "the image was not loaded into Docker: %v", err)
			return ctx.Err()
		}
		return fmt.Errorf("%w; or put the image elsewhere with --export PATH or --push", err)
	}
	return errors.Join(docker{api}.put(ctx, d.ref, image), api.Close())
}
