package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Kept is something that kernel builds leave in a Docker engine for the next
// build, or that an interrupted build left behind.
type Kept struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Bytes is the space that it uses; -1 means that the engine does not say.
	Bytes int64 `json:"bytes"`
	// Used is when a build last used it.
	Used time.Time `json:"used"`
	// InUse reports whether a container has it, or has had it within the last
	// hour. Prune leaves it alone.
	InUse bool `json:"inUse"`
}

// The kinds of what is kept.
const (
	kindSource    = "source"           // a volume with an unpacked source
	kindObjects   = "objects"          // a volume with what was compiled of it
	kindCompiler  = "compiler's cache" // the volume of ccache
	kindImage     = "builder image"
	kindContainer = "container" // left behind
)

// volumeKinds maps what the names of the volumes begin with to their kinds.
func volumeKinds() map[string]string {
	return map[string]string{"hookbuild-source-": kindSource, "hookbuild-objects-": kindObjects, "hookbuild-ccache": kindCompiler}
}

const imagePrefix = "hookbuild-builder-"

// inUse is how long a volume counts as in use after a build used it. A build
// makes several containers, and between two of them no container has the volume.
const inUse = time.Hour

// Limits specify what [Prune] removes. The zero value removes nothing.
type Limits struct {
	// Age is how long a volume, or a container that was left behind, may stay
	// unused; 0 sets no limit.
	Age time.Duration
	// All removes everything that is not in use, builder images too.
	All bool
	// DryRun only reports what would be removed.
	DryRun bool
}

// List returns what kernel builds keep in an engine, largest first.
func List(ctx context.Context, engine client.APIClient) ([]Kept, error) {
	return list(ctx, engine, func(string) bool { return true })
}

// list returns of what is kept that whose names match.
func list(ctx context.Context, engine client.APIClient, match func(name string) bool) ([]Kept, error) {
	usage, err := engine.DiskUsage(ctx, types.DiskUsageOptions{})
	if err != nil {
		return nil, outside("asking the Docker engine what it keeps: %w", err)
	}
	all := slices.Concat(volumesIn(usage), imagesIn(usage))
	left, err := leftBehind(ctx, engine, usage)
	if err != nil {
		return nil, err
	}
	all = append(all, left...)
	all = slices.DeleteFunc(all, func(k Kept) bool { return !match(k.Name) })
	if err := dateVolumes(ctx, engine, usage, all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Kept) int {
		if a.Bytes != b.Bytes {
			return int(max(-1, min(1, b.Bytes-a.Bytes)))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

func volumesIn(usage types.DiskUsage) []Kept {
	var all []Kept
	for _, v := range usage.Volumes {
		for prefix, kind := range volumeKinds() {
			if !strings.HasPrefix(v.Name, prefix) {
				continue
			}
			k := Kept{Kind: kind, Name: v.Name, Bytes: -1}
			if v.UsageData != nil {
				k.Bytes, k.InUse = v.UsageData.Size, v.UsageData.RefCount > 0
			}
			k.Used, _ = time.Parse(time.RFC3339, v.CreatedAt) // a time that cannot be read counts as long ago
			all = append(all, k)
		}
	}
	return all
}

func imagesIn(usage types.DiskUsage) []Kept {
	var all []Kept
	for _, i := range usage.Images {
		for _, tag := range i.RepoTags {
			if strings.HasPrefix(tag, imagePrefix) {
				used := time.Unix(i.Created, 0)
				all = append(all, Kept{Kind: kindImage, Name: tag, Bytes: i.Size, Used: used, InUse: i.Containers > 0 || time.Since(used) < inUse})
			}
		}
	}
	return all
}

// leftBehind returns the containers of builds that were killed.
func leftBehind(ctx context.Context, engine client.APIClient, usage types.DiskUsage) ([]Kept, error) {
	var all []Kept
	for _, c := range usage.Containers {
		if _, ours := c.Labels[labelStep]; !ours || len(c.Names) == 0 {
			continue
		}
		state, err := engine.ContainerInspect(ctx, c.ID)
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			return nil, outside("looking at the container %q: %w", c.Names[0], err)
		case abandoned(state):
			all = append(all, Kept{Kind: kindContainer, Name: strings.TrimPrefix(c.Names[0], "/"), Bytes: c.SizeRw, Used: time.Unix(c.Created, 0)})
		}
	}
	return all, nil
}

// dateVolumes sets when the volumes were last used. It mounts them in a container
// that never runs, for which the engine needs some image. Without one, the time
// of their creation stays.
func dateVolumes(ctx context.Context, engine client.APIClient, usage types.DiskUsage, all []Kept) (err error) {
	mounts, err := mountsOf(ctx, engine, all)
	if err != nil || len(mounts) == 0 {
		return err
	}
	if len(usage.Images) == 0 {
		for i := range all {
			all[i].InUse = all[i].InUse || time.Since(all[i].Used) < inUse
		}
		return nil
	}
	config := &container.Config{Image: anyImage(usage), Cmd: []string{"true"}, Labels: map[string]string{labelStep: "look"}}
	created, err := engine.ContainerCreate(ctx, config, &container.HostConfig{Mounts: mounts, NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return outside("looking at the volumes of kernel builds: %w", err)
	}
	defer func() { err = errors.Join(err, removeContainer(ctx, engine, created.ID)) }()
	for _, m := range mounts {
		stat, err := engine.ContainerStatPath(ctx, created.ID, m.Target+"/"+usedFile)
		if errdefs.IsNotFound(err) { // an older hookbuild made it, and its own time is the best that there is
			stat, err = engine.ContainerStatPath(ctx, created.ID, m.Target)
		}
		if err != nil {
			return outside("looking at the volume %q: %w", m.Source, err)
		}
		i := slices.IndexFunc(all, func(k Kept) bool { return isVolume(k) && k.Name == m.Source })
		all[i].Used = stat.Mtime
		all[i].InUse = all[i].InUse || time.Since(stat.Mtime) < inUse
	}
	return nil
}

// anyImage returns an image, if there is one a builder image, which is for the
// engine's own architecture.
func anyImage(usage types.DiskUsage) string {
	if own := imagesIn(usage); len(own) > 0 {
		return own[0].Name
	}
	return usage.Images[0].ID
}

// mountsOf returns mounts of the volumes among all that exist now. Mounting another
// would create it, and the engine may have taken seconds to measure the volumes.
func mountsOf(ctx context.Context, engine client.APIClient, all []Kept) ([]mount.Mount, error) {
	exist, err := engine.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return nil, outside("listing the volumes of the Docker engine: %w", err)
	}
	var mounts []mount.Mount
	for _, v := range exist.Volumes {
		if slices.ContainsFunc(all, func(k Kept) bool { return isVolume(k) && k.Name == v.Name }) {
			mounts = append(mounts, mount.Mount{Type: mount.TypeVolume, Source: v.Name, Target: fmt.Sprintf("/kept/%d", len(mounts))})
		}
	}
	return mounts, nil
}

func isVolume(k Kept) bool {
	return k.Kind == kindSource || k.Kind == kindObjects || k.Kind == kindCompiler
}

// Prune removes what exceeds the limits and returns what it removed. It keeps what is in use, so it may run alongside
// hookbuild processes that build kernels.
func Prune(ctx context.Context, engine client.APIClient, l Limits) ([]Kept, error) {
	return prune(ctx, engine, l, func(string) bool { return true })
}

func prune(ctx context.Context, engine client.APIClient, l Limits, match func(name string) bool) ([]Kept, error) {
	all, err := list(ctx, engine, match)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Kept) int { // containers first, because the volumes are theirs
		return strings.Compare(removalOrder(a), removalOrder(b))
	})
	var removed []Kept
	for _, k := range all {
		if !l.exceeded(k) {
			continue
		}
		if !l.DryRun {
			switch err := discard(ctx, engine, k); {
			case errdefs.IsConflict(err), errdefs.IsNotFound(err): // in use by now, or removed by another process
				continue
			case err != nil:
				return removed, outside("removing the %s %s of kernel builds: %w", k.Kind, k.Name, err)
			}
		}
		removed = append(removed, k)
	}
	return removed, nil
}

func removalOrder(k Kept) string {
	switch k.Kind {
	case kindContainer:
		return "1"
	case kindImage:
		return "3"
	}
	return "2"
}

func (l Limits) exceeded(k Kept) bool {
	switch {
	case k.InUse:
		return false
	case k.Kind == kindImage: // its age says nothing about its last use
		return l.All
	}
	return l.All || l.Age > 0 && time.Since(k.Used) > l.Age
}

func discard(ctx context.Context, engine client.APIClient, k Kept) error {
	switch k.Kind {
	case kindContainer:
		return engine.ContainerRemove(ctx, k.Name, container.RemoveOptions{})
	case kindImage:
		_, err := engine.ImageRemove(ctx, k.Name, image.RemoveOptions{PruneChildren: true})
		return err
	}
	return engine.VolumeRemove(ctx, k.Name, false)
}

// usedFile is a file in each volume whose time is when a build last used it.
const usedFile = "used"

// markUsed notes in a container's volumes, by mount point, that they are used now.
func (b *Builder) markUsed(ctx context.Context, id string, volumes map[string]string, now time.Time) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, at := range sortedKeys(volumes) {
		header := &tar.Header{Name: strings.TrimPrefix(at, "/") + "/" + usedFile, Mode: 0o644, ModTime: now}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := b.docker.CopyToContainer(ctx, id, "/", &archive, container.CopyToContainerOptions{}); err != nil {
		return outside("noting in the volumes that they are used: %w", err)
	}
	return nil
}
