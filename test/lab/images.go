package lab

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/pgzip"

	"hookbuild/linuxkit/containers"
)

// format is part of what names a set of images: raise it when a recipe changes.
const format = "1"

// nameAnnotation holds an image's name in the layout of a set.
const nameAnnotation = "org.opencontainers.image.ref.name"

// Images is the set of images that the miniature checkout needs on one
// architecture.
type Images struct {
	layout   layout.Path
	checkout fs.FS
	arch     string
}

// Images makes the images for arch ("amd64", "arm64"), or finds them made.
// Checkout is testdata/hook, whose scripts go into them. It needs apt-get,
// dpkg-deb, go and, the first time, Debian's packages.
func (l *Lab) Images(ctx context.Context, arch string, checkout fs.FS) (*Images, error) {
	if err := checkArch(arch); err != nil {
		return nil, err
	}
	dir, list, err := l.debs(ctx, "base", arch, choosePrograms)
	if err != nil {
		return nil, err
	}
	labinit, err := l.buildGuest(ctx, arch)
	if err != nil {
		return nil, err
	}
	key, err := imagesKey(list, labinit, checkout)
	if err != nil {
		return nil, err
	}
	made := filepath.Join(l.dir, "images-"+arch+"-"+key[:16])
	err = l.locked(ctx, "images-"+arch, func(ctx context.Context) error {
		if _, err := os.Stat(made); err == nil {
			return nil
		}
		l.logf("making the HookOS images for %s", arch)
		return l.makeImages(ctx, made, arch, func(root string) (ingredients, error) {
			p, err := unpackPrograms(ctx, dir, list, root, arch)
			return ingredients{programs: p, checkout: checkout, labinit: labinit}, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("making the images of the lab for %s: %w", arch, err)
	}
	return &Images{layout: layout.Path(made), checkout: checkout, arch: arch}, nil
}

// choosePrograms picks the packages that the images' programs and their
// libraries come from.
func choosePrograms(ctx context.Context, a apt) ([]string, error) {
	// Debian 13 has the docker command in a package of its own.
	wanted, err := a.known(ctx, "docker.io", "docker-cli", "containerd", "runc", "busybox-static")
	if err != nil {
		return nil, err
	}
	names, err := a.closure(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return !slices.Contains(wanted, n) && (!strings.HasPrefix(n, "lib") || strings.HasSuffix(n, "-perl"))
	}), nil
}

// buildGuest compiles the init for arch and gives its file.
func (l *Lab) buildGuest(ctx context.Context, arch string) (string, error) {
	out := filepath.Join(l.dir, "labinit-"+arch)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", out, "hookbuild/test/lab/guest/labinit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false")
	err := l.locked(ctx, "labinit-"+arch, func(context.Context) error {
		said, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("building the lab's init: %w: %s", err, tail(string(said)))
		}
		return nil
	})
	return out, err
}

// imagesKey names the content of a set of images by all that it is made of.
func imagesKey(list []deb, labinit string, checkout fs.FS) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, "format", format)
	for _, d := range list {
		fmt.Fprintln(h, "deb", d.File, d.SHA256)
	}
	sum, err := sumFile(labinit)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(h, "init", sum)
	scripts, err := fs.Glob(checkout, "images/*/*.sh")
	if err != nil {
		return "", err
	}
	for _, s := range scripts {
		content, err := fs.ReadFile(checkout, s)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "script %s %x\n", s, sha256.Sum256(content))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// makeImages writes the set into an OCI layout that appears complete or not at
// all.
func (l *Lab) makeImages(ctx context.Context, made, arch string, gather func(root string) (ingredients, error)) (err error) {
	work, err := os.MkdirTemp(l.dir, "making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	things, err := gather(filepath.Join(work, "root"))
	if err != nil {
		return err
	}
	recipes, err := things.recipes()
	if err != nil {
		return err
	}
	set, err := layout.Write(filepath.Join(work, "layout"), empty.Index)
	if err != nil {
		return err
	}
	for _, r := range recipes {
		if err := ctx.Err(); err != nil {
			return err
		}
		image, err := r.image(work, arch)
		if err != nil {
			return fmt.Errorf("making %q: %w", r.name, err)
		}
		if err := set.AppendImage(image, layout.WithAnnotations(map[string]string{nameAnnotation: r.name})); err != nil {
			return fmt.Errorf("storing %q: %w", r.name, err)
		}
	}
	return os.Rename(filepath.Join(work, "layout"), made)
}

func (r recipe) image(work, arch string) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: arch, OS: "linux", Config: r.config, RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, files := range r.layers {
		layer, err := writeLayer(work, files)
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// writeLayer makes a gzipped layer in a file of work.
func writeLayer(work string, files []file) (layer v1.Layer, err error) {
	f, err := os.CreateTemp(work, "layer-*.tar.gz")
	if err != nil {
		return nil, err
	}
	z := pgzip.NewWriter(f)
	if err := errors.Join(writeTar(z, files), z.Close(), f.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromFile(f.Name())
}

// writeTar writes files and their parent directories, sorted.
func writeTar(w io.Writer, files []file) error {
	files = slices.Clone(files)
	have := map[string]bool{}
	for _, f := range files {
		have[f.name] = true
	}
	for _, f := range slices.Clone(files) {
		for dir := path.Dir(strings.TrimSuffix(f.name, "/")); dir != "."; dir = path.Dir(dir) {
			if !have[dir+"/"] {
				have[dir+"/"] = true
				files = append(files, directory(dir, 0o755))
			}
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := writeTarFile(t, f); err != nil {
			return fmt.Errorf("packing %q: %w", f.name, err)
		}
	}
	return t.Close()
}

func writeTarFile(t *tar.Writer, f file) error {
	header := &tar.Header{Name: f.name, Mode: f.mode, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	switch {
	case f.link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.link, 0o777
		return t.WriteHeader(header)
	case strings.HasSuffix(f.name, "/"):
		header.Typeflag = tar.TypeDir
		return t.WriteHeader(header)
	}
	content, size, err := f.open()
	if err != nil {
		return err
	}
	header.Size = size
	if err := t.WriteHeader(header); err != nil {
		return errors.Join(err, content.Close())
	}
	_, err = io.Copy(t, content)
	return errors.Join(err, content.Close())
}

// Push puts the images where the checkout's template looks for them in a
// registry: base is the value for HOOK_LK_CONTAINERS_OCI_BASE,
// "127.0.0.1:5000/hook/".
func (s *Images) Push(ctx context.Context, base string, options ...remote.Option) error {
	all, err := containers.List(ctx, s.checkout, base, s.arch)
	if err != nil {
		return err
	}
	index, err := s.layout.ImageIndex()
	if err != nil {
		return fmt.Errorf("reading the lab's images: %w", err)
	}
	for _, c := range all {
		if err := push(ctx, index, c, options); err != nil {
			return fmt.Errorf("pushing %q to %q: %w", c.Name, c.Reference, err)
		}
	}
	return nil
}

func push(ctx context.Context, index v1.ImageIndex, c containers.Container, options []remote.Option) error {
	ref, err := name.ParseReference(c.Reference, name.Insecure)
	if err != nil {
		return err
	}
	found, err := partial.FindImages(index, match.Annotation(nameAnnotation, c.Name))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("the lab has %d recipes for this container of the checkout", len(found))
	}
	return remote.Write(ref, found[0], append(options, remote.WithContext(ctx))...)
}
