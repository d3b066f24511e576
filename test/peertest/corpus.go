// Package peertest compares root file systems with those of the linuxkit tool,
// for tests only. It has a corpus of images that show what images may hold, a
// registry in the process that serves them, and a listing of a file tree in
// which equal systems are equal text.
package peertest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer describes a layer: a line for each file, "KIND MODE UID:GID PATH
// [CONTENT]", where KIND is d, f, l (symlink), h (hard link), c, b or p.
// CONTENT is a file's text (in quotes as in Go when it has to be), a link's
// target or a device's MAJOR:MINOR.
type layer string

// layerTime is the time of all files in the corpus.
func layerTime() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

// tar writes the layer as an archive.
func (l layer) tar() ([]byte, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for line := range strings.Lines(string(l)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := writeLine(tw, line); err != nil {
			return nil, fmt.Errorf("writing the layer's line %q: %w", line, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func writeLine(tw *tar.Writer, line string) error {
	fields := strings.SplitN(line, " ", 5)
	if len(fields) < 4 {
		return fmt.Errorf("too few fields")
	}
	hdr := &tar.Header{Name: fields[3], ModTime: layerTime(), Format: tar.FormatPAX}
	if _, err := fmt.Sscanf(fields[1], "%o", &hdr.Mode); err != nil {
		return err
	}
	if _, err := fmt.Sscanf(fields[2], "%d:%d", &hdr.Uid, &hdr.Gid); err != nil {
		return err
	}
	rest := ""
	if len(fields) == 5 {
		rest = fields[4]
	}
	if strings.HasPrefix(rest, `"`) {
		var err error
		if rest, err = strconv.Unquote(rest); err != nil {
			return err
		}
	}
	return writeKind(tw, hdr, fields[0], rest)
}

func writeKind(tw *tar.Writer, hdr *tar.Header, kind, rest string) error {
	kinds := map[string]byte{"d": tar.TypeDir, "f": tar.TypeReg, "l": tar.TypeSymlink, "h": tar.TypeLink, "c": tar.TypeChar, "b": tar.TypeBlock, "p": tar.TypeFifo}
	typeflag, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("unknown kind %q", kind)
	}
	hdr.Typeflag = typeflag
	switch kind {
	case "d":
		hdr.Name += "/"
	case "f":
		hdr.Size = int64(len(rest))
	case "l", "h":
		hdr.Linkname = rest
	case "c", "b":
		if _, err := fmt.Sscanf(rest, "%d:%d", &hdr.Devmajor, &hdr.Devminor); err != nil {
			return err
		}
	}
	if err := tw.WriteHeader(hdr); err != nil || kind != "f" {
		return err
	}
	_, err := io.WriteString(tw, rest)
	return err
}

// buildImage makes an image of the layers.
func buildImage(arch string, config v1.Config, layers ...layer) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for _, l := range layers {
		content, err := l.tar()
		if err != nil {
			return nil, err
		}
		opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", arch, config
	return mutate.ConfigFile(img, file)
}
