package embed

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

// mostLayers is the largest number of layers of an image that dockerd can pull
// or load (moby, daemon/internal/layer, maxLayerDepth).
const mostLayers = 125

// layer is an image's layer on top of all layers below it: the unit that
// dockerd stores and shares between images. Its identity is the chain ID.
type layer struct {
	src    *oci.Layer
	origin string // an image that has it, for messages
	chain  v1.Hash
	parent *layer // nil for the lowest
	depth  int    // 1 for the lowest
	// sources lists where the layer's blob was pulled from.
	sources []blobSource

	// Set by [layer.read]:

	diff     *overlayDiff
	tarSplit *cache.File

	// held is the content of its regular files, in order, for the packed
	// layout.
	held []*content
}

// chainID identifies a layer together with those below it, as the OCI image
// specification defines it (config.md, "Layer ChainID").
func chainID(parent *layer, diffID v1.Hash) v1.Hash {
	if parent == nil {
		return diffID
	}
	sum := sha256.Sum256([]byte(parent.chain.String() + " " + diffID.String()))
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// cacheID returns the name of the layer's directory below overlay2/. Docker
// picks it at random; any unique name works, and this one is the same in every
// build.
func (l *layer) cacheID() string { return l.chain.Hex }

// link returns the layer's short name, which keeps the mount options of a deep
// image within a page: 26 characters of A-Z2-7, which Docker picks at random.
func (l *layer) link() string {
	sum := sha256.Sum256([]byte("link " + l.chain.String()))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// below returns the layers under l, nearest first.
func (l *layer) below() []*layer {
	var under []*layer
	for at := l.parent; at != nil; at = at.parent {
		under = append(under, at)
	}
	return under
}

// read fetches the layer, lists its files and makes its tar-split data.
func (l *layer) read(ctx context.Context, c *cache.Cache) error {
	entries, err := l.src.Entries(ctx)
	if err != nil {
		return err // it names the layer
	}
	if l.diff, err = newOverlayDiff(entries); err != nil {
		return invalidLayer(l, err)
	}
	if l.tarSplit, err = tarSplit(ctx, c, l.src); err != nil {
		return fmt.Errorf("recording %s: %w", l.src, err)
	}
	return nil
}

// size returns the size of the layer as dockerd counts it: each regular file
// once, however many names it has, and the length of symlinks.
func (l *layer) size() int64 {
	var sum int64
	for e := range l.diff.files.All() {
		switch e.Type {
		case initramfs.Regular:
			sum += e.Size
		case initramfs.Symlink:
			sum += int64(len(e.Target))
		}
	}
	return sum
}

// layerSet holds every distinct layer once, parents before children.
type layerSet struct {
	all     []*layer
	byChain map[v1.Hash]*layer
}

// add adds an image's layers to the set and returns the topmost, or nil for an
// image without layers.
func (s *layerSet) add(im *oci.Image) (*layer, error) {
	if err := checkLayers(im); err != nil {
		return nil, fault.Invalidf("embedding %q: %w", im.Source, err)
	}
	var top *layer
	for _, src := range im.Layers {
		top = s.get(im, src, top)
	}
	return top, nil
}

func (s *layerSet) get(im *oci.Image, src *oci.Layer, parent *layer) *layer {
	chain := chainID(parent, src.DiffID)
	l := s.byChain[chain]
	if l == nil {
		l = &layer{src: src, origin: im.Source, chain: chain, parent: parent, depth: 1}
		if parent != nil {
			l.depth = parent.depth + 1
		}
		if s.byChain == nil {
			s.byChain = map[v1.Hash]*layer{}
		}
		s.byChain[chain] = l
		s.all = append(s.all, l)
	}
	l.sources = append(l.sources, blobSource{digest: src.Digest, repository: sourceRepository(im)})
	return l
}

// chains returns the layers' chain IDs.
func (s *layerSet) chains() []string {
	var ids []string
	for _, l := range s.all {
		ids = append(ids, l.chain.String())
	}
	return ids
}

func checkLayers(im *oci.Image) error {
	if im.Config == nil {
		return errors.New("it has no configuration")
	}
	diffIDs := im.Config.RootFS.DiffIDs
	if len(diffIDs) != len(im.Layers) {
		return fmt.Errorf("its configuration lists %d layers, but its manifest %d", len(diffIDs), len(im.Layers))
	}
	if len(im.Layers) > mostLayers {
		return fmt.Errorf("it has %d layers, but Docker allows %d; squash it", len(im.Layers), mostLayers)
	}
	for i, l := range im.Layers {
		if l.DiffID != diffIDs[i] {
			return fmt.Errorf("its layer %d is %s, but its configuration says %s", i+1, l.DiffID, diffIDs[i])
		}
	}
	return nil
}
