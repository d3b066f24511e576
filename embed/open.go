package embed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Limits for reading a store from elsewhere.
const (
	largestConfig = 8 << 20 // Docker's own limit for an image's configuration
	largestNames  = 16 << 20
	largestField  = 4 << 10
)

// Store is a Docker data root found in an initramfs: one made by this package,
// in either layout, or one copied from a dockerd with the overlay2 driver, as
// in upstream's HookOS.
type Store struct {
	tree   *initramfs.Tree
	cache  *cache.Cache
	images []*storedImage
	layers map[v1.Hash]*storedLayer // by chain ID
	names  *nameTable

	opening sync.Mutex
	packed  *initramfs.Tree // the content of the squashfs, once it is open
}

// storedImage is an image in the store.
type storedImage struct {
	id     v1.Hash
	config []byte
	layers []*storedLayer // lowest first
}

// storedLayer is a layer as the layer database describes it.
type storedLayer struct {
	chain, diffID v1.Hash
	cacheID       string
	size          int64
}

// Open reads the store of an initramfs; layers extracted from it pass through
// the cache. If the initramfs has no store, the error wraps [fs.ErrNotExist];
// if dockerd could not use the store as a whole, the error has the kind
// [fault.Invalid]. Open does not read the contents of layers: see
// [Store.Verify].
func Open(tree *initramfs.Tree, c *cache.Cache) (*Store, error) {
	if _, found := tree.Lookup(path.Join(StorePath, imageDir, "repositories.json")); !found {
		return nil, fmt.Errorf("looking for embedded images in %q: %w", StorePath, fs.ErrNotExist)
	}
	s := &Store{tree: tree, cache: c, layers: map[v1.Hash]*storedLayer{}, names: newNameTable()}
	if err := s.load(); err != nil {
		return nil, fault.Invalidf("reading the embedded images in %q: %w", StorePath, err)
	}
	return s, nil
}

// InNames reports whether [Names] reads the content of the file.
func InNames(e initramfs.Entry) bool {
	return e.Path == path.Join(StorePath, imageDir, "repositories.json")
}

// Names returns the names of the embedded images by ID, without those by digest. It
// reads only the list of names. Without a store there are none.
func Names(tree *initramfs.Tree) (map[string][]string, error) {
	s := &Store{tree: tree, names: newNameTable()}
	if err := s.loadNames(); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fault.Invalidf("reading the embedded images in %q: %w", StorePath, err)
	}
	names := map[string][]string{}
	for _, refs := range s.names.Repositories {
		for ref, id := range refs {
			if !strings.Contains(ref, "@") {
				names[id] = append(names[id], ref)
			}
		}
	}
	return names, nil
}

func (s *Store) loadNames() error {
	body, err := s.read(imageDir+"/repositories.json", largestNames)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, s.names); err != nil {
		return fmt.Errorf("reading repositories.json: %w", err)
	}
	return nil
}

func (s *Store) load() error {
	if err := s.loadNames(); err != nil {
		return err
	}
	for _, name := range s.children(imageDB + "/content/sha256") {
		im, err := s.loadImage(name)
		if err != nil {
			return fmt.Errorf("image %q: %w", name, err)
		}
		s.images = append(s.images, im)
	}
	return nil
}

func (s *Store) loadImage(name string) (*storedImage, error) {
	config, err := s.read(imageDB+"/content/sha256/"+name, largestConfig)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(config)
	if hex.EncodeToString(sum[:]) != name {
		return nil, fmt.Errorf("its configuration has the digest sha256:%x", sum)
	}
	im := &storedImage{id: v1.Hash{Algorithm: "sha256", Hex: name}, config: config}
	parsed, err := im.parse()
	if err != nil {
		return nil, err
	}
	var parent *layer
	for _, diffID := range parsed.RootFS.DiffIDs {
		parent = &layer{chain: chainID(parent, diffID)}
		l, err := s.loadLayer(parent.chain, diffID)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", diffID, err)
		}
		im.layers = append(im.layers, l)
	}
	return im, nil
}

func (im *storedImage) parse() (*v1.ConfigFile, error) {
	var config v1.ConfigFile
	if err := json.Unmarshal(im.config, &config); err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	return &config, nil
}

// loadLayer reads the layer database's record of a layer.
func (s *Store) loadLayer(chain, diffID v1.Hash) (*storedLayer, error) {
	if l, known := s.layers[chain]; known {
		return l, nil
	}
	at := path.Join(layerDB, "sha256", chain.Hex)
	field := func(name string) (string, error) {
		body, err := s.read(path.Join(at, name), largestField)
		return strings.TrimSpace(string(body)), err
	}
	diff, err := field("diff")
	if err != nil {
		return nil, err
	}
	if diff != diffID.String() {
		return nil, fmt.Errorf("the layer database has %q in its place", diff)
	}
	l := &storedLayer{chain: chain, diffID: diffID}
	if l.cacheID, err = field("cache-id"); err != nil {
		return nil, err
	}
	if l.cacheID == "" || l.cacheID == "." || l.cacheID == ".." || strings.Contains(l.cacheID, "/") {
		return nil, fmt.Errorf("its cache-id %q is not a name", l.cacheID)
	}
	size, err := field("size")
	if err != nil {
		return nil, err
	}
	if l.size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return nil, fmt.Errorf("reading its size: %w", err)
	}
	s.layers[chain] = l
	return l, nil
}

// read returns a small file of the data root.
func (s *Store) read(name string, most int64) ([]byte, error) {
	body, err := s.open(path.Join(StorePath, name))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(body, most+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	if int64(len(content)) > most {
		return nil, fmt.Errorf("reading %q: it is larger than %d bytes", name, most)
	}
	return content, nil
}

// open opens a regular file of the initramfs.
func (s *Store) open(at string) (io.ReadCloser, error) { return openFile(s.tree, at) }

// openFile opens a regular file of a tree. It follows symlinks, because
// upstream's tools replace hard links by them.
func openFile(tree *initramfs.Tree, at string) (io.ReadCloser, error) {
	e, found := tree.Find(at)
	if !found {
		return nil, fmt.Errorf("opening %q: %w", at, fs.ErrNotExist)
	}
	if e.Type != initramfs.Regular {
		return nil, fmt.Errorf("opening %q: it is a %s", at, e.Type)
	}
	if e.Open == nil {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return e.Open()
}

// children returns the names in a directory of the data root.
func (s *Store) children(dir string) []string {
	prefix := path.Join(StorePath, dir) + "/"
	var names []string
	for e := range s.tree.All() {
		if name, below := strings.CutPrefix(e.Path, prefix); below && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

// Layout returns the layout of the store.
func (s *Store) Layout() Layout {
	if _, packed := s.tree.Lookup(path.Join(StorePath, layersFile)); packed {
		return Packed
	}
	return Directory
}

// Images returns the images by name; those without one come last.
func (s *Store) Images() []Embedded {
	var list []Embedded
	for _, im := range s.images {
		list = append(list, s.embedded(im))
	}
	slices.SortStableFunc(list, func(a, b Embedded) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return list
}

func (s *Store) embedded(im *storedImage) Embedded {
	e := Embedded{ID: im.id}
	e.Names, e.Digests = s.names.of(im.id)
	for _, l := range im.layers {
		e.Size += l.size
		e.Layers = append(e.Layers, l.chain)
	}
	return e
}

// Lookup returns the image that dockerd uses when a container asks for it by
// name; without a tag the name means :latest, and with both a tag and a digest
// only the digest counts. Ok is false if dockerd would have to pull it.
func (s *Store) Lookup(name string) (id v1.Hash, ok bool, err error) {
	ref, err := parseName(name)
	if err != nil {
		return v1.Hash{}, false, err
	}
	repository := reference.FamiliarName(ref)
	wanted := reference.FamiliarString(reference.TagNameOnly(ref))
	if digested, isDigested := ref.(reference.Digested); isDigested {
		wanted = repository + "@" + digested.Digest().String()
	}
	for _, im := range s.images {
		if s.names.Repositories[repository][wanted] == im.id.String() {
			return im.id, true, nil
		}
	}
	return v1.Hash{}, false, nil
}

func (e Embedded) sortKey() string {
	return strings.Join(append(append(slices.Clone(e.Names), e.Digests...), "\xff"+e.ID.Hex), " ")
}

// find returns the image that name means: a name or digest as dockerd accepts
// it, an image ID, which may be abbreviated, or the end of a name.
func (s *Store) find(name string) (*storedImage, error) {
	wanted := ""
	if ref, err := Name(name); err == nil {
		for _, refs := range s.names.Repositories {
			if id, found := refs[ref]; found {
				wanted = strings.TrimPrefix(id, "sha256:")
			}
		}
	}
	if wanted == "" && len(name) >= 4 {
		wanted = strings.TrimPrefix(name, "sha256:")
	}
	var found []*storedImage
	for _, im := range s.images {
		if wanted != "" && strings.HasPrefix(im.id.Hex, wanted) {
			found = append(found, im)
		}
	}
	if len(found) == 0 {
		found = s.named(name)
	}
	switch len(found) {
	case 0:
		return nil, fault.Invalidf("looking for the embedded image %q: no image has this name or ID; there are %s", name, s.listing())
	case 1:
	default:
		return nil, fault.Invalidf("looking for the embedded image %q: it stands for %d images; there are %s", name, len(found), s.listing())
	}
	return found[0], nil
}

// named returns the images that have the name below any registry and path: cexec is
// 127.0.0.1/embedded/cexec:latest.
func (s *Store) named(name string) []*storedImage {
	return slices.DeleteFunc(slices.Clone(s.images), func(im *storedImage) bool {
		names, _ := s.names.of(im.id)
		return name == "" || !slices.ContainsFunc(names, func(n string) bool {
			base := path.Base(n)
			return base == name || base == name+":latest"
		})
	})
}

// listing returns the names of the images, or the label of one that has none.
func (s *Store) listing() string {
	var all []string
	for _, e := range s.Images() {
		if len(e.Names) == 0 {
			all = append(all, e.label())
		}
		all = append(all, e.Names...)
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
