package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// How says where a container's image was found.
type How string

// The places, in the order in which they are searched.
const (
	Local     How = "local"     // in the Docker Engine
	Published How = "published" // in the registry that its reference names
	Built     How = "built"     // was nowhere; now in the Docker Engine
)

// Found is a container whose image exists.
type Found struct {
	Container
	How How
	// Source is the argument for [oci.Client.Image].
	Source string
}

// Images finds images. [oci.Client] implements it.
type Images interface {
	Image(ctx context.Context, src string, p v1.Platform) (*oci.Image, error)
}

var _ Images = (*oci.Client)(nil)

// Options specify how [Ensure] finds and builds images.
type Options struct {
	// Checkout has the directories from which images are built.
	Checkout fs.FS
	// Arch is amd64 or arm64.
	Arch   string
	Images Images
	// Connect connects to the Docker Engine. It is called at most once; its
	// failure matters only if something has to be built or pushed. Nil means
	// that there is no engine.
	Connect func(context.Context) (*client.Client, error)
	// BuildOn connects to the engine that builds, from which Connect's gets what
	// was built; nil means Connect's.
	BuildOn func(context.Context) (*client.Client, error)
	// NoBuild makes it an error if an image would have to be built. WhyNoBuild says
	// what forbids it, and what to do instead, for the error.
	NoBuild    bool
	WhyNoBuild string
	// Push pushes images in the engine to their registry. Published images are
	// left unchanged.
	Push bool
	// ExportDir, if not empty, is the directory to which each image is written
	// in the format of `docker load`. See [export].
	ExportDir string
	// Keychain has the registry logins for building and pushing; nil means the
	// user's own.
	Keychain authn.Keychain
	// Jobs is the number of images searched for at once; 0 means 4.
	Jobs     int
	Progress progress.Sink
}

// Ensure finds the image of every container in the list: in the Docker Engine,
// else in the registry, else by building it. The result is in the order of the
// list.
func Ensure(ctx context.Context, list []Container, o Options) ([]Found, error) {
	e := &ensurer{Options: o}
	found := make([]Found, len(list))
	jobs := o.Jobs
	if jobs < 1 {
		jobs = 4
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, c := range list {
		g.Go(func() error {
			var err error
			if found[i], err = e.ensure(ctx, c); err != nil {
				return fmt.Errorf("container %q: %w", c.Name, err)
			}
			return nil
		})
	}
	if err := errors.Join(g.Wait(), e.close()); err != nil {
		return nil, err
	}
	return found, nil
}

type ensurer struct {
	Options

	once   sync.Once
	engine *client.Client
	noDock error // why there is no engine

	// building serialises builds: each uses all cores, and their output would
	// be mixed.
	building sync.Mutex
}

func (e *ensurer) platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: e.Arch} }

// docker returns the engine, or the reason why it cannot be used.
func (e *ensurer) docker(ctx context.Context) (*client.Client, error) {
	e.once.Do(func() {
		if e.Connect == nil {
			e.noDock = errors.New("no Docker Engine is in use")
			return
		}
		e.engine, e.noDock = e.Connect(ctx)
	})
	return e.engine, e.noDock
}

func (e *ensurer) close() error {
	if e.engine == nil {
		return nil
	}
	return e.engine.Close()
}

func (e *ensurer) ensure(ctx context.Context, c Container) (Found, error) {
	found, err := e.find(ctx, c)
	if err != nil {
		return found, err
	}
	if e.Push && found.How != Published {
		if err := e.push(ctx, c); err != nil {
			return found, err
		}
	}
	if e.ExportDir == "" {
		return found, nil
	}
	img, err := e.Images.Image(ctx, found.Source, e.platform())
	if err != nil {
		return found, err
	}
	_, err = export(ctx, img, c.Reference, e.ExportDir, e.Progress)
	return found, err
}

// find tries the three places in turn.
func (e *ensurer) find(ctx context.Context, c Container) (Found, error) {
	found := Found{Container: c, How: Local, Source: "daemon:" + c.Reference}
	if local, err := e.isLocal(ctx, c); err != nil || local {
		return found, err
	}
	_, missing := e.Images.Image(ctx, c.Reference, e.platform())
	if err := ctx.Err(); err != nil {
		return found, err
	}
	if missing == nil {
		return Found{Container: c, How: Published, Source: c.Reference}, nil
	}
	absent := "is not published"
	switch {
	case !oci.IsMissing(missing):
		absent = "could not be looked up"
	case c.Wraps == "":
		missing = fmt.Errorf("%w%s", missing, e.cause(c))
	}
	if e.NoBuild {
		err := fmt.Errorf("%w; %s", missing, cmp.Or(e.WhyNoBuild, "building is switched off"))
		return found, fault.Mark(err, fault.Outside)
	}
	if _, err := e.docker(ctx); err != nil {
		err := fmt.Errorf("it %s: %w. It cannot be built here, because that needs Docker: %w. A machine that has Docker can publish it: `hookbuild containers --push`", absent, missing, err)
		return found, fault.Mark(err, fault.Outside)
	}
	progress.Notef(e.Progress, "%s %s; building it here: %v", c.Reference, absent, missing)
	found.How = Built
	return found, e.build(ctx, c)
}

// cause returns what to look at if a container is not published: its directory, and
// what in it is not upstream's.
func (e *ensurer) cause(c Container) string {
	text := "; the tag is the hash of all files in images/" + c.Name
	if files, remedy := localChanges(e.Checkout, c); files != "" {
		text += ", also of those that git does not have like that: " + files + "; " + remedy
	}
	return text
}
