package embed

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/test/testneed"
)

// member is a file in a layer's tar; content is the body of a regular file.
type member struct {
	tar.Header
	content string
}

func aFile(name, content string, mode int64) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: time.Unix(1_600_000_000, 0)}, content}
}

func aDir(name string, mode int64) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: time.Unix(1_500_000_000+int64(len(name)), 0)}, ""}
}

func aLink(name, target string, mode int64) member {
	m := aFile(name, "", mode)
	m.Typeflag, m.Linkname = tar.TypeLink, target
	return m
}

func aSymlink(name, target string) member {
	m := aFile(name, "", 0o777)
	m.Typeflag, m.Linkname = tar.TypeSymlink, target
	return m
}

func aDevice(name string, kind byte, major, minor int64) member {
	m := aFile(name, "", 0o620)
	m.Typeflag, m.Devmajor, m.Devminor = kind, major, minor
	return m
}

func withAttr(m member, name, value string) member {
	m.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return m
}

// capability is cap_net_raw=ep.
func capability() string { return "\x01\x00\x00\x02\x00\x20" + strings.Repeat("\x00", 14) }

func owned(m member, uid, gid int) member {
	m.Uid, m.Gid = uid, gid
	return m
}

// theLayer returns a layer of the files, gzip-compressed.
func theLayer(t *testing.T, members ...member) v1.Layer {
	t.Helper()
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	for _, m := range members {
		h := m.Header
		h.Size = int64(len(m.content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := ggcrtar.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func theImage(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	im, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := im.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	config.Config.Cmd = []string{"/bin/sh"}
	config.Created = v1.Time{Time: time.Unix(1_700_000_000, 0)}
	if im, err = mutate.ConfigFile(im, config); err != nil {
		t.Fatal(err)
	}
	return im
}

// corpus returns a set of small images with everything that occurs in layers.
// All but "empty" can run /bin/busybox.
func corpus(t *testing.T) map[string]v1.Image {
	t.Helper()
	busybox, err := os.ReadFile(testneed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	base := theLayer(t, owned(aDir(".", 0o700), 7, 8), // which Docker passes over
		aDir("bin", 0o755), aFile("bin/busybox", string(busybox), 0o755), aLink("bin/sh", "bin/busybox", 0o755), aLink("bin/cat", "bin/busybox", 0o755),
		aFile("bin/su", "not really", 0o4755), owned(aFile("bin/wall", "not really", 0o2755), 0, 5),
		withAttr(aFile("bin/ping", "ping", 0o755), "security.capability", capability()),
		aDir("etc", 0o755), aFile("etc/passwd", "root:x:0:0:::/bin/sh\n", 0o644), aFile("etc/gone", "gone", 0o644),
		aDir("data", 0o755), aDir("data/sub", 0o755), aFile("data/sub/old", "old", 0o644), aFile("data/sub/both", "lower", 0o644), aFile("data/old", "old", 0o644),
		aDir("gone", 0o755), aFile("gone/file", "gone", 0o644), aDir("tmp", 0o1777), owned(aDir("home", 0o2770), 1000, 100),
		aSymlink("lib", "usr/lib"), aFile("usr/lib/implied", "its directories have no entry", 0o644), aSymlink("absolute", "/etc/passwd"),
		aDevice("null", tar.TypeChar, 1, 3), aDevice("disk", tar.TypeBlock, 8, 1), aDevice("pipe", tar.TypeFifo, 0, 0),
		owned(aFile("home/"+strings.Repeat("long-name-", 20), "x", 0o600), 1000, 100), aFile("odd/ name\nwith\\all -- \xe9 grüße", "odd", 0o644),
		aLink("odd/-link", "odd/ name\nwith\\all -- \xe9 grüße", 0o644), owned(aSymlink("owned-link", "nowhere"), 7, 8),
	)
	changes := theLayer(t,
		aFile("etc/.wh.gone", "", 0), aFile(".wh.gone", "", 0), aDir("data", 0o700), aFile("data/.wh..wh..opq", "", 0),
		aDir("data/sub", 0o755), aFile("data/sub/both", "upper", 0o644), aFile("data/new", "new", 0o644),
		aFile("etc/added", "added", 0o640), aLink("etc/added-too", "etc/added", 0o640),
	)
	nothing := theLayer(t)
	again := theLayer(t, aDir("gone", 0o711), aFile("gone/back", "back", 0o644), aFile("data/last", "last", 0o644))
	return map[string]v1.Image{
		"base":    theImage(t, base),
		"changed": theImage(t, base, changes, nothing, again),
		"repeats": theImage(t, base, changes, base, changes),
		"empty":   theImage(t),
		"later":   theImage(t, base, changes, theLayer(t, aFile("etc/later", "later", 0o600))),
	}
}

// hub is a registry that serves the corpus.
type hub struct {
	host   string
	client *oci.Client
	cache  *cache.Cache
}

func startHub(t *testing.T, images map[string]v1.Image) *hub {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	h := &hub{host: strings.TrimPrefix(server.URL, "http://")}
	for n, im := range images {
		ref, err := name.ParseReference(h.ref(n), name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, im); err != nil {
			t.Fatal(err)
		}
	}
	h.cache = newCache(t)
	h.client = oci.NewClient(oci.Options{Cache: h.cache})
	return h
}

func newCache(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *hub) ref(image string) string { return h.host + "/corpus/" + image + ":v1" }

func (h *hub) pull(t *testing.T, image string) *oci.Image {
	t.Helper()
	im, err := h.client.Image(context.Background(), h.ref(image), v1.Platform{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// embedded are the images of the corpus that go into the store.
var embedded = []string{"base", "changed", "repeats", "empty"}

// runnable are those with layers.
var runnable = embedded[:3]

// items returns those images with a HookOS name and their own.
func (h *hub) items(t *testing.T) []Item {
	t.Helper()
	var items []Item
	for _, n := range embedded {
		items = append(items, Item{Image: h.pull(t, n), Names: []string{"127.0.0.1/embedded/" + n, h.ref(n)}})
	}
	return items
}
