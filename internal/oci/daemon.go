package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// savedKind is the cache's kind for notes of the configuration of an engine's
// image, by the image's ID there: an engine delivers a configuration only
// together with all layers.
const savedKind = "engine"

// engineImage is an image of a Docker Engine. The engine delivers it only as a
// whole, which happens when a part is needed that is not in the cache.
type engineImage struct {
	client   *Client
	engine   *client.Client
	ref, id  string
	platform v1.Platform

	once sync.Mutex
	open opener
	from saved
	raw  []byte
}

func (c *Client) daemonImage(ctx context.Context, src, ref string, p v1.Platform) (*Image, error) {
	engine, err := dockerhost.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding image %q: %w", src, err)
	}
	info, err := engine.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return nil, fault.Invalidf("finding image %q: %w; \"docker images\" lists the images", src, err)
	}
	if err != nil {
		return nil, fault.Outsidef("finding image %q: %w", src, err)
	}
	d := &engineImage{client: c, engine: engine, ref: ref, id: info.ID, platform: p}
	raw, err := d.config(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of image %q: %w", src, err)
	}
	return c.savedImage(src, raw, len(info.RootFS.Layers), d.layer)
}

// EngineTags returns the tags that the Docker Engine has of a repository, sorted.
func EngineTags(ctx context.Context, repository string) (tags []string, err error) {
	repo, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return nil, fault.Invalidf("reading the repository name %q: %w", repository, err)
	}
	api, err := dockerhost.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing Docker's images of %q: %w", repository, err)
	}
	defer func() { err = errors.Join(err, api.Close()) }()
	name := reference.FamiliarName(repo) // Docker's own filter and list leave docker.io/library/ out
	list, err := api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", name))})
	if err != nil {
		return nil, fault.Outsidef("listing Docker's images of %q: %w", repository, err)
	}
	for _, i := range list {
		for _, ref := range i.RepoTags {
			if tag, ok := strings.CutPrefix(ref, name+":"); ok {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// config returns the configuration, from the cache if this image was seen
// before.
func (d *engineImage) config(ctx context.Context) ([]byte, error) {
	raw, err := d.knownConfig(ctx)
	if !errors.Is(err, fs.ErrNotExist) {
		return raw, err
	}
	if err := d.save(ctx); err != nil {
		return nil, err
	}
	h := hashOf(d.raw)
	if err := d.client.keep(ctx, configKind, h, d.raw); err != nil {
		return nil, err
	}
	return d.raw, d.client.cache.SetNote(savedKind, d.noteKey(), h.String())
}

func (d *engineImage) knownConfig(ctx context.Context) ([]byte, error) {
	text, err := d.client.cache.Note(savedKind, d.noteKey())
	if err != nil {
		return nil, err
	}
	h, err := v1.NewHash(text)
	if err != nil {
		return nil, err
	}
	f, err := d.client.cache.Blob(ctx, configKind, h)
	if err != nil {
		return nil, err
	}
	raw, err := readSmall(io.NewSectionReader(f, 0, f.Size()), h, mostConfig)
	return raw, closing(err, f)
}

// noteKey includes the platform, because an image may exist for several.
func (d *engineImage) noteKey() string { return d.id + " " + d.platform.String() }

func (d *engineImage) layer(ctx context.Context, i int) (io.ReadCloser, error) {
	if err := d.save(ctx); err != nil {
		return nil, err
	}
	r, err := d.open(d.from.Layers[i])
	return r, incomplete(err)
}

// save fetches the whole image from the engine, once.
func (d *engineImage) save(ctx context.Context) error {
	d.once.Lock()
	defer d.once.Unlock()
	if d.open != nil {
		return nil
	}
	archive, err := d.client.cache.Scratch(ctx, func(w io.Writer) error { return d.copyTo(ctx, w) })
	if err != nil {
		return err
	}
	open, err := archiveFiles(archive, archive.Size(), d.ref)
	if err != nil {
		return closing(err, archive)
	}
	if d.from, d.raw, err = chooseSaved(open, "", d.platform); err != nil {
		return closing(err, archive)
	}
	d.open = open
	return nil
}

func (d *engineImage) copyTo(ctx context.Context, w io.Writer) error {
	task := progress.Start(d.client.sink, 0, "save %s from the Docker Engine", d.ref)
	stream, err := d.engine.ImageSave(ctx, []string{d.ref})
	if err == nil {
		_, err = io.Copy(w, task.Reader(stream))
		err = closing(err, stream)
	}
	return task.End(fault.Mark(err, fault.Outside), "")
}
