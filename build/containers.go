package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/containers"
)

// Engine connects to a Docker Engine.
type Engine func(context.Context) (*client.Client, error)

// ContainersRequest describes which images of a checkout's containers to find or
// build.
type ContainersRequest struct {
	Workspace Workspace
	// Base is the prefix of their references (HOOK_LK_CONTAINERS_OCI_BASE).
	Base string
	// DockerArch is amd64 or arm64.
	DockerArch string
	// NoBuild makes an image that would have to be built an error, which says
	// WhyNoBuild.
	NoBuild    bool
	WhyNoBuild string
	// Push pushes images that are not published to their registry.
	Push bool
	// Engine is the address or the context of the Docker Engine that builds;
	// empty means Builder.Engine.
	Engine string
	// ExportDir, if not empty, is the directory to which each image is written
	// for `docker load`.
	ExportDir string
}

// Containers finds the image of every container in the checkout as build.sh
// does: in the Docker Engine, else in the registry, else by building it.
func (b *Builder) Containers(ctx context.Context, r ContainersRequest) ([]containers.Found, error) {
	setDefault(&r.Base, DefaultContainersBase)
	list, err := containers.List(ctx, r.Workspace.FS(), r.Base, r.DockerArch)
	if err != nil {
		return nil, err
	}
	return containers.Ensure(ctx, list, b.ensureOptions(r))
}

func (b *Builder) ensureOptions(r ContainersRequest) containers.Options {
	o := containers.Options{
		Checkout: r.Workspace.FS(), Arch: r.DockerArch, Images: b.Client, Connect: b.Engine,
		NoBuild: r.NoBuild, WhyNoBuild: r.WhyNoBuild, Push: r.Push, ExportDir: r.ExportDir, Jobs: b.Jobs, Progress: b.Progress,
	}
	if r.Engine != "" {
		o.BuildOn = func(ctx context.Context) (*client.Client, error) { return dockerhost.ConnectTo(ctx, r.Engine) }
	}
	return o
}

// finder finds the images of a document. The checkout's own containers may be in
// the Docker Engine, or be built. Registries are asked first, so that a build in
// which everything is published needs no Docker and has the same bytes on every
// machine.
type finder struct {
	*Builder
	own     map[string]containers.Container // by long reference
	request ContainersRequest
}

// finder returns a finder whose own containers are those of list.
func (b *Builder) finder(r Request, list []containers.Container) finder {
	f := finder{b, map[string]containers.Container{}, ContainersRequest{
		Workspace: r.Workspace, Base: r.ContainersBase, DockerArch: r.Flavor.DockerArch(), NoBuild: r.NoBuildContainers, WhyNoBuild: r.WhyNoBuild, Engine: r.ContainersEngine,
	}}
	for _, c := range list {
		f.own[linuxkit.ExpandReference(c.Reference)] = c
	}
	return f
}

// find returns the images of the references. Their layers are downloaded only
// when they are read. A survey builds no image; find returns the containers for
// which one would have to be built.
func (f finder) find(ctx context.Context, refs []string) (images map[string]*oci.Image, missing []unbuilt, err error) {
	images, unpublished, err := f.askRegistries(ctx, refs)
	if err != nil || len(unpublished) == 0 {
		return images, nil, err
	}
	var list []containers.Container
	for _, ref := range slices.Sorted(maps.Keys(unpublished)) {
		list = append(list, f.own[ref])
	}
	if f.survey && !f.request.NoBuild {
		missing, err := f.lookInEngine(ctx, list, unpublished, images)
		return images, missing, cmp.Or(err, ctx.Err())
	}
	return images, nil, f.ensure(ctx, list, unpublished, images)
}

// unbuilt is a container whose image was found nowhere, and why.
type unbuilt struct {
	containers.Container
	why error
}

// lookInEngine adds the images that the Docker Engine has, and returns the
// containers that it does not have. Without an engine, it fails as a build does
// for containers that could not be looked up in their registry.
func (f finder) lookInEngine(ctx context.Context, list []containers.Container, unpublished map[string]error, images map[string]*oci.Image) (missing []unbuilt, err error) {
	var failed []containers.Container
	for _, c := range list {
		if !oci.IsMissing(unpublished[linuxkit.ExpandReference(c.Reference)]) {
			failed = append(failed, c)
		}
	}
	noEngine := f.askEngine(ctx)
	if noEngine != nil && len(failed) > 0 {
		o := f.ensureOptions(f.request)
		o.Images = answered{f.Client, unpublished}
		o.Connect = func(context.Context) (*client.Client, error) { return nil, noEngine }
		_, err := containers.Ensure(ctx, failed, o)
		return nil, err
	}
	for _, c := range list {
		ref := linuxkit.ExpandReference(c.Reference)
		if noEngine != nil {
			missing = append(missing, unbuilt{c, fmt.Errorf("%w; whether Docker has it is not known", unpublished[ref])})
			continue
		}
		img, err := f.Client.Image(ctx, "daemon:"+c.Reference, platformOf(f.request.DockerArch))
		if err == nil {
			images[ref] = img
			continue
		}
		missing = append(missing, unbuilt{c, whyUnbuilt(unpublished[ref], err)})
	}
	if len(failed) > 0 && len(missing) > 0 {
		progress.Warnf(f.Progress, "%s could not be looked up in the registry, so what Docker lacks is built: %v", words.Count(len(failed), "container"), unpublished[linuxkit.ExpandReference(failed[0].Reference)])
	}
	return missing, nil
}

// whyUnbuilt returns why a container is built, from what its registry and the Docker
// Engine answered. That a registry could not be asked is reported once for all.
func whyUnbuilt(registry, engine error) error {
	why := errors.New("it could not be looked up")
	if oci.IsMissing(registry) {
		why = registry
	}
	if errdefs.IsNotFound(engine) {
		return fmt.Errorf("%w; Docker does not have it", why)
	}
	return fmt.Errorf("%w; in Docker: %w", why, engine)
}

// askEngine returns why the Docker Engine cannot be used, or nil if it can.
func (f finder) askEngine(ctx context.Context) error {
	if f.Engine == nil {
		return errors.New("no Docker Engine is in use")
	}
	engine, err := f.Engine(ctx)
	if err != nil {
		return err
	}
	return engine.Close()
}

// ensure adds the images of containers that are not published, which it finds in
// the Docker Engine or builds.
func (f finder) ensure(ctx context.Context, list []containers.Container, unpublished map[string]error, images map[string]*oci.Image) error {
	o := f.ensureOptions(f.request)
	o.Images = answered{f.Client, unpublished}
	found, err := containers.Ensure(ctx, list, o)
	if err != nil {
		return err
	}
	for _, c := range found {
		ref := linuxkit.ExpandReference(c.Reference)
		if images[ref], err = f.Client.Image(ctx, c.Source, platformOf(f.request.DockerArch)); err != nil {
			return err
		}
	}
	return nil
}

// askRegistries returns the images that are published, and the registries' errors
// for containers of the checkout that are not, by reference.
func (f finder) askRegistries(ctx context.Context, refs []string) (images map[string]*oci.Image, unpublished map[string]error, err error) {
	images, unpublished = map[string]*oci.Image{}, map[string]error{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(f.Jobs, 4))
	for _, ref := range refs {
		g.Go(func() error {
			img, err := f.Client.Image(ctx, ref, platformOf(f.request.DockerArch))
			mu.Lock()
			defer mu.Unlock()
			if _, own := f.own[ref]; err == nil {
				images[ref] = img
			} else if own && ctx.Err() == nil {
				unpublished[ref] = err
			} else {
				return err
			}
			return nil
		})
	}
	return images, unpublished, g.Wait()
}

// answered finds images without asking registries again for those that they are
// known not to have.
type answered struct {
	*oci.Client
	said map[string]error
}

// Image implements [containers.Images].
func (a answered) Image(ctx context.Context, src string, p v1.Platform) (*oci.Image, error) {
	if err := a.said[linuxkit.ExpandReference(src)]; err != nil {
		return nil, err
	}
	return a.Client.Image(ctx, src, p)
}

var _ containers.Images = answered{}

func platformOf(dockerArch string) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: dockerArch}
}
