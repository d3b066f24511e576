package containers

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"

	"github.com/klauspost/pgzip"
)

// export writes an image to a gzip-compressed file in dir in the format of
// `docker load`, under the name that build.sh uses: the last element of the
// reference with a dash instead of the colon. The content depends only on the
// image and the reference. Export returns the file's path.
func export(ctx context.Context, img *oci.Image, reference, dir string, s progress.Sink) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("exporting %q: %w", reference, err)
	}
	name := filepath.Join(dir, strings.ReplaceAll(path.Base(reference), ":", "-")+".tar.gz")
	task := progress.Start(s, 0, "export %s", reference)
	err := atomicfile.Write(name, atomicfile.Mode, func(w io.Writer) error {
		zw := pgzip.NewWriter(w)
		return errors.Join(writeArchive(ctx, zw, img, reference), zw.Close())
	})
	if err != nil {
		err = fmt.Errorf("exporting %q to %q: %w", reference, name, err)
	}
	return name, task.End(err, name)
}

// archiveManifest is the manifest.json of docker save's format.
type archiveManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func writeArchive(ctx context.Context, w io.Writer, img *oci.Image, reference string) error {
	manifest := archiveManifest{Config: img.ID.Hex + ".json", RepoTags: []string{reference}}
	tw := tar.NewWriter(w)
	if err := writeMember(tw, manifest.Config, int64(len(img.RawConfig)), bytes.NewReader(img.RawConfig)); err != nil {
		return err
	}
	written := map[string]bool{}
	for _, l := range img.Layers {
		name := l.DiffID.Hex + "/layer.tar"
		manifest.Layers = append(manifest.Layers, name)
		if written[name] {
			continue
		}
		written[name] = true
		if err := writeLayer(ctx, tw, name, l); err != nil {
			return err
		}
	}
	text, err := json.Marshal([]archiveManifest{manifest})
	if err != nil {
		return err
	}
	if err := writeMember(tw, "manifest.json", int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	return tw.Close()
}

func writeLayer(ctx context.Context, tw *tar.Writer, name string, l *oci.Layer) error {
	f, err := l.Tar(ctx)
	if err != nil {
		return err
	}
	err = writeMember(tw, name, f.Size(), io.NewSectionReader(f, 0, f.Size()))
	return errors.Join(err, f.Close())
}

func writeMember(tw *tar.Writer, name string, size int64, content io.Reader) error {
	hdr := &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}
