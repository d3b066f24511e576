package embed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

// Directories of the data root, as dockerd with the overlay2 driver lays it
// out. The format has not changed since Docker 1.10 (moby,
// daemon/internal/layer, image and refstore; daemon/graphdriver/overlay2).
const (
	imageDir        = "image/overlay2"
	imageDB         = imageDir + "/imagedb"
	layerDB         = imageDir + "/layerdb"
	distributionDir = imageDir + "/distribution"
	graphDir        = "overlay2"
	linkDir         = graphDir + "/l"
	// layersFile is the squashfs of the packed layout, layersDir its mount
	// point.
	layersFile = "layers.squashfs"
	layersDir  = "layers"
)

// store is a Docker data root under construction, without duplicates.
type store struct {
	images []*oci.Image // by ID, in the order given
	top    map[v1.Hash]*layer
	layers layerSet
	names  *nameTable
	// packedAs identifies the content of the squashfs, once it is made;
	// converted counts the layers that had to be packed for it.
	packedAs  string
	converted int
	// shared holds the files of the directory layout that are one file with
	// several names.
	shared map[string]bool
}

func newStore(items []Item, o Options) (*store, error) {
	s := &store{top: map[v1.Hash]*layer{}, names: newNameTable()}
	for _, it := range items {
		if err := s.add(it, o.Arch); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *store) add(it Item, arch string) error {
	im := it.Image
	if err := checkImage(im, arch); err != nil {
		return fault.Invalidf("embedding %q: %w", im.Source, err)
	}
	if len(it.Names)+len(it.Digests) == 0 {
		return fault.Invalidf("embedding %q: it has no name at boot, so nothing could start it; name it as actions ask for it, SOURCE=NAME", im.Source)
	}
	for _, n := range it.Names {
		if err := s.names.add(im, n); err != nil {
			return err
		}
	}
	for _, d := range it.Digests {
		if err := s.names.addDigest(im, d); err != nil {
			return err
		}
	}
	top, err := s.layers.add(im)
	if err != nil {
		return err
	}
	if _, known := s.top[im.ID]; !known {
		s.top[im.ID] = top
		s.images = append(s.images, im)
	}
	return nil
}

// checkImage rejects what dockerd would skip or could not run, which it reports
// only in its log.
func checkImage(im *oci.Image, arch string) error {
	sum := sha256.Sum256(im.RawConfig)
	if got := hex.EncodeToString(sum[:]); got != im.ID.Hex {
		return fmt.Errorf("its configuration has the digest sha256:%s instead of %s", got, im.ID)
	}
	var config struct {
		RootFS *json.RawMessage `json:"rootfs"`
	}
	if err := json.Unmarshal(im.RawConfig, &config); err != nil {
		return fmt.Errorf("reading its configuration: %w", err)
	}
	if config.RootFS == nil || im.Config == nil {
		return errors.New("its configuration has no rootfs: it is not an image that Docker can run")
	}
	if os := im.Config.OS; os != "" && os != "linux" {
		return fmt.Errorf("it is for %s, not for linux", os)
	}
	if have := im.Config.Architecture; arch != "" && have != "" && have != arch {
		return fmt.Errorf("it is for %s, but the machine is %s: name an image for %s, or build for %s with --arch", have, arch, arch, have)
	}
	return nil
}

// read fetches and reads all layers, jobs at once. It passes each to next, in
// order, as soon as it and the earlier ones are read.
func (s *store) read(ctx context.Context, c *cache.Cache, jobs int, next func(*layer) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs + 1)
	taken := make([]chan struct{}, len(s.layers.all))
	for i := range taken {
		taken[i] = make(chan struct{})
	}
	group.Go(func() error {
		for i, l := range s.layers.all {
			select {
			case <-taken[i]:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := next(l); err != nil {
				return err
			}
		}
		return nil
	})
	for i, l := range s.layers.all {
		group.Go(func() error {
			err := l.read(ctx, c)
			if err == nil {
				close(taken[i])
			}
			return err
		})
	}
	return group.Wait()
}

// embedded describes the images for the caller.
func (s *store) embedded() []Embedded {
	var list []Embedded
	for _, im := range s.images {
		e := Embedded{ID: im.ID}
		e.Names, e.Digests = s.names.of(im.ID)
		for l := s.top[im.ID]; l != nil; l = l.parent {
			e.Size += l.size()
			e.Layers = append(e.Layers, l.chain)
		}
		slices.Reverse(e.Layers)
		list = append(list, e)
	}
	return list
}

// dataRoot collects the files of a data root at its location in the initramfs.
// Paths are relative to the data root.
type dataRoot struct{ tree *initramfs.Tree }

func (r *dataRoot) put(e initramfs.Entry) error {
	if e.Origin == "" {
		e.Origin = "the image store"
	}
	e.Path = joinStore(e.Path)
	return r.tree.Add(e)
}

// joinStore returns the path in the initramfs of a file of the data root.
func joinStore(name string) string { return path.Join(StorePath, name) }

func (r *dataRoot) dir(name string, mode uint32) error {
	return r.put(initramfs.Entry{Path: name, Type: initramfs.Dir, Mode: mode, ModTime: initramfs.Epoch()})
}

func (r *dataRoot) file(name string, mode uint32, content string) error {
	e := initramfs.BytesFile(name, []byte(content), initramfs.Epoch())
	e.Mode = mode
	return r.put(e)
}

// skeleton creates everything of the data root except the layers' files.
func (s *store) skeleton() (*dataRoot, error) {
	r := &dataRoot{tree: &initramfs.Tree{}}
	names, err := s.names.encode()
	if err != nil {
		return nil, err
	}
	err = errors.Join(r.frame(), r.file(imageDir+"/repositories.json", 0o600, string(names)))
	for _, im := range s.images {
		err = errors.Join(err, r.file(imageDB+"/content/sha256/"+im.ID.Hex, 0o600, string(im.RawConfig)))
	}
	for _, l := range s.layers.all {
		err = errors.Join(err, r.layerRecord(l), r.graphRecord(l))
	}
	return r, errors.Join(err, r.distribution(s.layers.all))
}

// frame creates the directories that dockerd creates when it first starts.
func (r *dataRoot) frame() error {
	var err error
	for _, d := range []struct {
		name string
		mode uint32
	}{
		{"", 0o710},
		{"image", 0o700},
		{imageDir, 0o700},
		{imageDB, 0o700},
		{imageDB + "/content", 0o700},
		{imageDB + "/content/sha256", 0o700},
		{imageDB + "/metadata", 0o700},
		{imageDB + "/metadata/sha256", 0o700},
		{layerDB, 0o700},
		{layerDB + "/mounts", 0o755},
		{layerDB + "/sha256", 0o755},
		{layerDB + "/tmp", 0o755},
		{distributionDir, 0o700},
		{graphDir, 0o710},
		{linkDir, 0o700},
	} {
		err = errors.Join(err, r.dir(d.name, d.mode))
	}
	return err
}

// layerRecord creates the layer database's record of a layer.
func (r *dataRoot) layerRecord(l *layer) error {
	at := path.Join(layerDB, "sha256", l.chain.Hex)
	err := errors.Join(
		r.dir(at, 0o700),
		r.file(at+"/diff", 0o644, l.src.DiffID.String()),
		r.file(at+"/cache-id", 0o644, l.cacheID()),
		r.file(at+"/size", 0o644, strconv.FormatInt(l.size(), 10)),
		r.put(cached(at+"/tar-split.json.gz", l.tarSplit)),
	)
	if l.parent != nil {
		err = errors.Join(err, r.file(at+"/parent", 0o644, l.parent.chain.String()))
	}
	return err
}

// cached is a file whose content is in the cache.
func cached(at string, f *cache.File) initramfs.Entry {
	return initramfs.Entry{
		Path: at, Type: initramfs.Regular, Mode: 0o644, ModTime: initramfs.Epoch(), Size: f.Size(),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), nil },
	}
}

// graphRecord creates the graph driver's record of a layer. All layers are
// marked as committed: the driver then never mounts one for writing.
func (r *dataRoot) graphRecord(l *layer) error {
	at := path.Join(graphDir, l.cacheID())
	link := initramfs.Entry{Path: path.Join(linkDir, l.link()), Type: initramfs.Symlink, Mode: 0o777,
		ModTime: initramfs.Epoch(), Target: path.Join("..", l.cacheID(), "diff")}
	err := errors.Join(r.dir(at, 0o710), r.put(link), r.file(at+"/link", 0o644, l.link()), r.file(at+"/committed", 0o600, ""))
	if l.parent == nil {
		return err
	}
	var lower []string
	for _, under := range l.below() {
		lower = append(lower, "l/"+under.link())
	}
	return errors.Join(err, r.dir(at+"/work", 0o700), r.file(at+"/lower", 0o644, strings.Join(lower, ":")))
}

// blobSource is a location of a layer's compressed blob.
type blobSource struct {
	digest     v1.Hash
	repository string // "docker.io/library/alpine"; "" for a file
}

// blobRecord is an element of a file in v2metadata-by-diffid.
type blobRecord struct {
	Digest, SourceRepository, HMAC string
}

// distribution creates the maps between a layer and the blobs that it is known
// to come from. With them a later pull recognises a layer that is already
// there, and a push mounts it from another repository.
func (r *dataRoot) distribution(layers []*layer) error {
	records := map[v1.Hash][]blobRecord{}
	for _, l := range layers {
		for _, src := range l.sources {
			if src.digest == (v1.Hash{}) {
				continue
			}
			at := path.Join(distributionDir, "diffid-by-digest", src.digest.Algorithm, src.digest.Hex)
			if err := r.file(at, 0o644, l.src.DiffID.String()); err != nil {
				return err
			}
			record := blobRecord{Digest: src.digest.String(), SourceRepository: src.repository}
			if src.repository != "" && !slices.Contains(records[l.src.DiffID], record) {
				records[l.src.DiffID] = append(records[l.src.DiffID], record)
			}
		}
	}
	for _, l := range layers {
		if list := records[l.src.DiffID]; len(list) > 0 {
			if err := r.blobRecords(l.src.DiffID, list); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *dataRoot) blobRecords(diffID v1.Hash, list []blobRecord) error {
	slices.SortFunc(list, func(a, b blobRecord) int {
		return strings.Compare(a.SourceRepository+"@"+a.Digest, b.SourceRepository+"@"+b.Digest)
	})
	body, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("recording where the layer %s comes from: %w", diffID, err)
	}
	return r.file(distributionDir+"/v2metadata-by-diffid/sha256/"+diffID.Hex, 0o644, string(body))
}
