package containers

import (
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

// The places, in the order that they are looked at.
const (
	Local     How = "local"     // in the Docker Engine
	Published How = "published" // in the registry that its reference names
	Built     How = "built"     // nowhere; in the Docker Engine now
)

// Found is a container whose image exists.
type Found struct {
	Container
	How How
	// Source is what [oci.Client.Image] takes the image from.
	Source string
}

// Images finds images. [oci.Client] does.
type Images interface {
	Image(ctx context.Context, src string, p v1.Platform) (*oci.Image, error)
}

var _ Images = (*oci.Client)(nil)

// Options say how [Ensure] gets at images.
type Options struct {
	// Checkout has the directories that images are built from.
	Checkout fs.FS
	// Arch is amd64 or arm64.
	Arch   string
	Images Images
	// Connect reaches the Docker Engine. It is called once at most; when it
	// fails, that matters only where something has to be built or pushed. Nil
	// means that there is no Engine.
	Connect func(context.Context) (*client.Client, error)
	// NoBuild makes an image that would have to be built an error.
	NoBuild bool
	// Push sends images that are in the Engine to their registry. What is
	// published already stays as it is.
	Push bool
	// ExportDir is where each image is written to, as what `docker load`
	// reads, when it is not empty. See [Export].
	ExportDir string
	// Keychain knows the registry logins for building and pushing; nil is the
	// user's own.
	Keychain authn.Keychain
	// Jobs limits how many images are looked up at once; 0 is 4.
	Jobs     int
	Progress progress.Sink
}

// Ensure finds the image of every container in the list: in the Docker Engine,
// else in the registry, else by building it. The result has the list's order.
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

	// building lets one build run at a time: each uses all cores, and their
	// outputs would mix.
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
	_, err = Export(ctx, img, c.Reference, e.ExportDir, e.Progress)
	return found, err
}

// find looks at the three places in turn.
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
	if e.NoBuild {
		err := fmt.Errorf("%w; building it is switched off (DO_BUILD_LK_CONTAINERS=no): build it by `hookbuild containers` first", missing)
		return found, fault.Mark(err, fault.Outside)
	}
	if _, err := e.docker(ctx); err != nil {
		err := fmt.Errorf("it is not published (%w), and building it takes Docker (%w); `hookbuild containers --push` publishes it from a machine that has one", missing, err)
		return found, fault.Mark(err, fault.Outside)
	}
	progress.Notef(e.Progress, "%s is not published, so it is built here: %v", c.Reference, missing)
	found.How = Built
	return found, e.build(ctx, c)
}
