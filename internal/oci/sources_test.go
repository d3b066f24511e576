package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// sample returns an image with two layers, and its files.
func sample(t *testing.T, p v1.Platform) (v1.Image, []string) {
	return imageOf(t, p, gzipLayer(t, tarOf(t, "d/", "d/a=1", "for-"+p.Architecture+"=")), gzipLayer(t, tarOf(t, "d/", "d/.wh.a=", "d/b=2"))),
		[]string{"d/", "d/b=2", "for-" + p.Architecture + "="}
}

// check reads an image from src and compares its files.
func (l *lab) check(src string, p v1.Platform, want []string) *Image {
	l.t.Helper()
	m := l.image(src, p)
	tree, err := m.Tree(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	if diff := cmp.Diff(want, listing(l.t, tree)); diff != "" {
		l.t.Errorf("%s: %s", src, diff)
	}
	return m
}

// run runs an external program.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(testneed.Tool(t, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func TestLayoutMadeByGoContainerregistry(t *testing.T) {
	l, dir := newLab(t), t.TempDir()
	one, wantAMD := sample(t, amd64)
	two, wantARM := sample(t, arm64)
	index := indexOf(t, map[string]v1.Image{"linux/amd64": one, "linux/arm64": two})
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	m := l.check("oci:"+dir, amd64, wantAMD)
	if m.Digest != digestOf(t, one) || m.IndexDigest != digestOf(t, index) || m.Reference != nil {
		t.Errorf("got %s of %s, %v", m.Digest, m.IndexDigest, m.Reference)
	}
	l.check("oci:"+dir, arm64, wantARM)
}

// skopeo writes every form of an image outside a registry.
func TestSourcesMadeBySkopeo(t *testing.T) {
	l := newLab(t)
	image, want := sample(t, amd64)
	from := "docker://" + l.push("ns/image:v1", image)
	dir := t.TempDir()
	for to, src := range map[string]string{
		"oci:" + dir + "/layout:v1":                              "oci:" + dir + "/layout:v1",
		"oci:" + dir + "/unnamed":                                "oci:" + dir + "/unnamed",
		"oci-archive:" + dir + "/oci.tar:v1":                     "oci-archive:" + dir + "/oci.tar",
		"docker-archive:" + dir + "/docker.tar:site/ns/image:v1": "docker-archive:" + dir + "/docker.tar:site/ns/image:v1",
	} {
		t.Run(strings.Split(to, ":")[0], func(t *testing.T) {
			run(t, "skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", from, to)
			l.renew()
			m := l.check(src, amd64, want)
			if strings.HasPrefix(to, "oci") && m.Layers[0].Digest != digestOf(t, mustLayers(t, image)[0]) {
				t.Errorf("layer digest %s", m.Layers[0].Digest)
			}
			if len(m.Layers) != 2 || m.ID != hashOf(m.RawConfig) {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func mustLayers(t *testing.T, image v1.Image) []v1.Layer {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func TestCompressedArchives(t *testing.T) {
	l, dir := newLab(t), t.TempDir()
	image, want := sample(t, amd64)
	plain := saveTo(t, filepath.Join(dir, "image.tar"), map[string]v1.Image{"image:v1": image})
	for _, program := range []string{"gzip", "zstd", "xz"} {
		run(t, program, "--keep", "--force", plain)
	}
	for _, suffix := range []string{"", ".gz", ".zst", ".xz"} {
		l.renew()
		l.check("docker-archive:"+plain+suffix, amd64, want)
	}
	if left := l.kept("scratch"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

// Asking an archive for its names and its images unpacks it once, until it changes.
func TestArchiveIsUnpackedOnce(t *testing.T) {
	l := newLab(t)
	image, want := sample(t, amd64)
	file := saveTo(t, filepath.Join(t.TempDir(), "image.tar"), map[string]v1.Image{"image:v1": image})
	run(t, "gzip", file)
	file += ".gz"
	if names, err := l.client.SavedNames(t.Context(), DockerArchive+file); err != nil || len(names) != 1 {
		t.Fatalf("names %q, %v", names, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	other := make([]byte, info.Size())
	copy(other, "\x1f\x8b\x08") // which cannot be unpacked
	if err := errors.Join(os.WriteFile(file, other, 0o600), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	l.check(DockerArchive+file, amd64, want)
	if err := os.Chtimes(file, time.Time{}, info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.Image(t.Context(), DockerArchive+file, amd64); err == nil {
		t.Error("a file that has changed was not read again")
	}
}

// saveTo writes a docker archive, with compressed layers as
// go-containerregistry does.
func saveTo(t *testing.T, file string, images map[string]v1.Image) string {
	t.Helper()
	tags := map[name.Tag]v1.Image{}
	for text, image := range images {
		tag, err := name.NewTag(text)
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = image
	}
	if err := tarball.MultiWriteToFile(file, tags); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestChoosingAmongSeveralSavedImages(t *testing.T) {
	l := newLab(t)
	one, want := sample(t, amd64)
	file := saveTo(t, filepath.Join(t.TempDir(), "two.tar"), map[string]v1.Image{"ns/one:v1": one, "ns/two:v1": imageOf(t, amd64)})
	for _, ref := range []string{"ns/one:v1", "docker.io/ns/one:v1", "index.docker.io/ns/one:v1"} {
		l.check("docker-archive:"+file+":"+ref, amd64, want)
	}
	for ref, words := range map[string][]string{
		"":              {"several images", "ns/one:v1", "ns/two:v1"},
		":ns/three:v1":  {`not contain "ns/three:v1"`, "ns/one:v1", "ns/two:v1"},
		":not a name:x": {`not contain "not a name:x"`},
	} {
		_, err := l.client.Image(context.Background(), "docker-archive:"+file+ref, amd64)
		mentions(t, err, append(words, file)...)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: kind %d", ref, fault.KindOf(err))
		}
	}
}

// Old versions of docker save wrote a layer that two images share once, with a
// link to it.
func TestSavedLayerBehindALink(t *testing.T) {
	l := newLab(t)
	data := tarOf(t, "a=1")
	image := imageOf(t, amd64, plainLayer(data))
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "old.tar")
	archive := tarOf(t, "1/layer.tar="+string(data), "2/layer.tar -> ../1/layer.tar", "c.json="+string(config),
		`manifest.json=[{"Config":"c.json","RepoTags":["image:v1"],"Layers":["2/layer.tar"]}]`)
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	l.check("docker-archive:"+file, amd64, []string{"a=1"})
}

// A digest that was cut short is named as such.
func TestCutDigest(t *testing.T) {
	l := newLab(t)
	_, err := l.client.Image(context.Background(), "r.example/a@sha256:1234", amd64)
	mentions(t, err, `"r.example/a@sha256:1234"`, "4 characters after sha256:, not 64; copy the whole digest")
}

func TestSourcesThatAreDamaged(t *testing.T) {
	image, _ := sample(t, amd64)
	whole := t.TempDir()
	path, err := layout.Write(whole, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	layer := blobPath(digestOf(t, mustLayers(t, image)[1]))
	saved := saveTo(t, filepath.Join(t.TempDir(), "saved.tar"), map[string]v1.Image{"image:v1": image})
	for name, tc := range map[string]struct {
		damage func(dir string) error
		src    string // DIR is replaced by the copy of the layout
		words  []string
	}{
		"no such directory":   {nil, "oci:DIR/none", []string{"DIR/none", "not an OCI image layout"}},
		"no such archive":     {nil, "docker-archive:DIR/none.tar", []string{"DIR/none.tar", "no such file"}},
		"no layout":           {func(dir string) error { return os.Remove(dir + "/index.json") }, "oci:DIR", []string{"index.json"}},
		"no such name":        {nil, "oci:DIR:v9", []string{`"v9"`, "images without names"}},
		"broken index":        {func(dir string) error { return os.WriteFile(dir+"/index.json", []byte("{"), 0o600) }, "oci:DIR", []string{"index.json"}},
		"no manifest":         {func(dir string) error { return os.Remove(dir + "/" + blobPath(digestOf(t, image))) }, "oci:DIR", []string{"missing"}},
		"no layer":            {func(dir string) error { return os.Remove(dir + "/" + layer) }, "oci:DIR", []string{"layer 2", "missing"}},
		"changed layer":       {func(dir string) error { return os.WriteFile(dir+"/"+layer, []byte("x"), 0o600) }, "oci:DIR", []string{"layer 2", "shorter"}},
		"no docker archive":   {nil, "docker-archive:DIR/index.json", []string{"index.json", "text that begins with", "not a tar archive", "docker save IMAGE -o FILE"}},
		"a docker archive":    {nil, "oci-archive:" + saved, []string{"not an OCI image layout", "docker-archive:FILE"}},
		"wrong architecture":  {nil, "oci:DIR", []string{"linux/amd64", "linux/arm64"}},
		"a layout's archive":  {func(dir string) error { return tarTo(dir, "layout.tar") }, "docker-archive:DIR/layout.tar", []string{"OCI image layout", "oci-archive:FILE"}},
		"a layout":            {nil, "docker-archive:DIR", []string{"it is a directory with an OCI image layout; name it as oci:DIR"}},
		"an empty directory":  {func(dir string) error { return os.Mkdir(dir+"/none", 0o700) }, "oci-archive:DIR/none", []string{"it is a directory without an OCI image layout"}},
		"unpacked":            {func(dir string) error { return os.Rename(dir+"/index.json", dir+"/manifest.json") }, "docker-archive:DIR", []string{"the unpacked output of docker save; name the archive"}},
		"unpacked as layout":  {func(dir string) error { return os.Rename(dir+"/index.json", dir+"/manifest.json") }, "oci:DIR", []string{"the output of docker save, unpacked; name the archive"}},
		"a file as layout":    {nil, "oci:" + saved, []string{"is not a directory; name an archive as oci-archive:FILE"}},
		"an empty archive":    {func(dir string) error { return os.WriteFile(dir+"/none.tar", nil, 0o600) }, "oci-archive:DIR/none.tar", []string{"empty file", "type=oci"}},
		"a page, compressed":  {func(dir string) error { return gzipTo(dir+"/page.gz", "<html>") }, "docker-archive:DIR/page.gz", []string{"the unpacked", "HTML", "docker save"}},
		"cut docker archive":  {func(dir string) error { return copyStart(saved, dir+"/cut.tar", 700) }, "docker-archive:DIR/cut.tar", []string{"cut.tar", "unexpected EOF", "it is incomplete"}},
		"link out of the dir": {func(dir string) error { return linkOut(dir + "/" + layer) }, "oci:DIR", []string{"layer 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if tc.damage != nil {
				if err := tc.damage(dir); err != nil {
					t.Fatal(err)
				}
			}
			l, p := newLab(t), amd64
			if name == "wrong architecture" {
				p = arm64
			}
			m, err := l.client.Image(context.Background(), strings.Replace(tc.src, "DIR", dir, 1), p)
			if err == nil {
				err = m.Fetch(context.Background())
			}
			for _, word := range tc.words {
				mentions(t, err, strings.Replace(word, "DIR", dir, 1))
			}
			missing := errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "no such archive")
			if fault.KindOf(err) != fault.Invalid && !missing && name != "link out of the dir" {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			if left := append(l.kept("layers"), l.kept("scratch")...); len(left) > 1 {
				t.Errorf("left in the cache: %q", left)
			}
		})
	}
}

func copyStart(from, to string, n int) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data[:n], 0o600)
}

func linkOut(name string) error {
	return errors.Join(os.Remove(name), os.Symlink("/etc/passwd", name))
}

func TestManyLayers(t *testing.T) {
	const most = 127 // more than Docker can stack
	l := newLab(t)
	var layers []layer
	for i := range most {
		layers = append(layers, plainLayer(tarOf(t, []string{"a=1", "b=2", "c=3", ".wh.b=", "a=4"}[i%5])))
	}
	want := []string{"a=1", "b=2", "c=3"} // 127 is two more than 25 times all
	m := l.check(l.push("image:v1", imageOf(t, amd64, layers...)), amd64, want)
	if len(m.Layers) != most {
		t.Errorf("%d layers", len(m.Layers))
	}
}

func TestImageWithoutLayers(t *testing.T) {
	l := newLab(t)
	l.check(l.push("image:v1", imageOf(t, amd64)), amd64, nil)
}

func TestRepeatedLayerIsFetchedOnce(t *testing.T) {
	l := newLab(t)
	same := gzipLayer(t, tarOf(t, "a="+noise(100000)))
	src := l.push("image:v1", imageOf(t, amd64, same, same, same))
	if err := l.fetch(src); err != nil {
		t.Fatal(err)
	}
	if n := l.count("GET", hashOf(same.blob).String()); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if !bytes.Equal(body(t, l.image(src, amd64).Layers[2]), same.tar) {
		t.Error("the third layer differs")
	}
}

// tarTo archives a directory in one of its files.
func tarTo(dir, name string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), archive.Bytes(), 0o600)
}

func gzipTo(file, content string) error {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(content))
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, packed.Bytes(), 0o600)
}
