package kernel

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// images are where kernel images are looked for: the registries of an [oci.Client], or
// the Docker Engine.
type images interface {
	tagger
	Image(ctx context.Context, ref string, p v1.Platform) (*oci.Image, error)
}

// local are the images of the Docker Engine, into which [Make] loads kernels.
type local struct{ client *oci.Client }

func (local) Tags(ctx context.Context, repository string) ([]string, error) {
	return oci.EngineTags(ctx, repository)
}

func (l local) Image(ctx context.Context, ref string, p v1.Platform) (*oci.Image, error) {
	return l.client.Image(ctx, "daemon:"+ref, p)
}

// findWanted finds the wanted kernel in its registry. If only a kernel of the checkout's
// own files will do and the registry gives none, it takes the Docker Engine's.
func (o OpenOptions) findWanted(ctx context.Context, w wanted) (*oci.Image, error) {
	image, err := findLatest(ctx, o.Client, w, o.Progress)
	if err == nil || !w.HashOnly || ctx.Err() != nil {
		return image, err
	}
	loaded, missing := findLatest(ctx, local{o.Client}, w, o.Progress)
	if missing == nil {
		why := "no usable one is published with the checkout's configuration"
		if fault.KindOf(err) != fault.Invalid {
			why = web.ShowAll(err.Error())
		}
		progress.Notef(o.Progress, "using Docker's kernel %s: %s", web.ShowAll(loaded.Source), why)
		return loaded, nil
	}
	// Without an engine, no kernel was loaded into one.
	if none := new(dockerhost.EngineError); !errors.As(missing, &none) && fault.KindOf(missing) != fault.Invalid {
		return nil, errors.Join(err, missing)
	}
	if oci.IsMissing(err) {
		err = fmt.Errorf("%w; if no kernel was pushed there yet, --kernel build compiles it", err)
	}
	return nil, err
}
