package release

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The images beside the actions.
const (
	tinkWorker = "tink-worker"
	agent      = "tink-agent"
	boots      = "boots"
)

// upstreamAgent is the repository, below the registry's address, that stands for
// upstream's tink-agent; AgentTag is its tag of the commit of boots.
const (
	upstreamAgent = "ghcr/tinkerbell/" + agent
	AgentTag      = "v0.19.3-58b84f7d"
)

// Registry is a registry on loopback, filled with images.
type Registry struct {
	server *server
	access Access
	// Handler answers without the access rules.
	Handler http.Handler
	seen    recorder
	indexes map[string]v1.ImageIndex
	digests map[string]string
	// CA is the certificate of the authority in PEM form; nil for plain HTTP.
	CA []byte
}

// NewRegistry starts an empty registry.
func NewRegistry(ctx context.Context, a Access) (*Registry, error) {
	r := &Registry{access: a, Handler: registry.New(registry.Logger(silent())), indexes: map[string]v1.ImageIndex{}, digests: map[string]string{}}
	var id *identity
	if a.TLS {
		var err error
		if id, err = newIdentity(); err != nil {
			return nil, err
		}
		r.CA = id.pem
	}
	var err error
	r.server, err = serve(ctx, r.seen.before(a.before(r.Handler)), id)
	return r, err
}

// Addr is the registry's host and port.
func (r *Registry) Addr() string { return r.server.addr }

// Close stops the registry.
func (r *Registry) Close() error { return r.server.close() }

// Authorizations lists what clients sent as their Authorization header, each
// once.
func (r *Registry) Authorizations() []string { return r.seen.all() }

// Digest is that of an image's index in the service's bundles.
func (r *Registry) Digest(image string) string { return r.digests[image] }

func (r *Registry) reference(image string) string { return r.Addr() + "/made/" + image + ":1" }

// local sends requests to the registry's handler, past its access rules.
func (r *Registry) local() remote.Option { return remote.WithTransport(handlerTransport{r.Handler}) }

func (r *Registry) parse(ref string) (name.Reference, error) {
	return name.ParseReference(ref, name.Insecure)
}

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// pushImages makes the images.
func (s *Service) pushImages(ctx context.Context) error {
	programs := map[string]string{
		tinkWorker: "usr/bin/tink-worker", agent: "tink-agent", boots: "usr/bin/boots",
	}
	for _, a := range actions() {
		programs[a[1]] = "usr/bin/" + a[1]
	}
	for _, image := range slices.Sorted(maps.Keys(programs)) {
		index, err := makeIndex(image, programs[image])
		if err != nil {
			return fmt.Errorf("making the image %s: %w", image, err)
		}
		s.Images.indexes[image] = index
		if s.Images.digests[image], err = hashOf(index); err != nil {
			return err
		}
		if err := s.Images.tag(ctx, "made/"+image+":1", image); err != nil {
			return err
		}
	}
	return s.Images.tag(ctx, upstreamAgent+":"+AgentTag, agent)
}

// tag pushes an image under a name.
func (r *Registry) tag(ctx context.Context, repository, image string) error {
	ref, err := r.parse(r.Addr() + "/" + repository)
	if err != nil {
		return err
	}
	return remote.WriteIndex(ref, r.indexes[image], remote.WithContext(ctx), r.local())
}

// trace is what a program has in it that tells the two workers apart.
func trace(image string) string {
	switch image {
	case tinkWorker:
		return "/proto.WorkflowService/GetWorkflowContexts\x00path\tgithub.com/tinkerbell/tink/cmd/tink-worker\nmod\tgithub.com/tinkerbell/tink\tv0.12.2\t"
	case agent:
		return "/proto.WorkflowService/GetAction\x00path\tgithub.com/tinkerbell/tinkerbell/cmd/agent\n"
	}
	return ""
}

func makeIndex(image, program string) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		base, err := layer(map[string]string{"etc/os-release": "NAME=" + arch + "\n"})
		if err != nil {
			return nil, err
		}
		own, err := layer(map[string]string{program: "the program " + image + " for " + arch + "\x00" + trace(image)})
		if err != nil {
			return nil, err
		}
		config := &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{Entrypoint: []string{"/" + program}}, RootFS: v1.RootFS{Type: "layers"}}
		img, err := mutate.ConfigFile(empty.Image, config)
		if err == nil {
			img, err = mutate.AppendLayers(img, base, own)
		}
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index, nil
}

func layer(files map[string]string) (v1.Layer, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o755, Size: int64(len(files[path]))})
		if err == nil {
			_, err = io.WriteString(tw, files[path])
		}
		if err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}
