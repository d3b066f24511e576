package embed

import (
	"path"
	"strings"

	"hookbuild/internal/initramfs"
)

// Part is a piece of a store that can be a separate initramfs segment: all
// parts of a store, written one after the other, unpack to its tree.
type Part struct {
	// Key identifies the inputs of the part, for [cache.Cache.Derived], if it
	// is worth caching: the same layer has the same key in every store. It is
	// empty for the part that differs between stores, which is small.
	Key string
	// Compressed reports whether nearly all of the part is already compressed.
	Compressed bool

	whole *initramfs.Tree
	paths []string
}

// partVersion changes whenever the parts of the same layers would differ.
const partVersion = "part 3"

// Tree returns the part's files, with their parent directories.
func (p Part) Tree() (*initramfs.Tree, error) {
	tree := &initramfs.Tree{}
	for _, name := range p.paths {
		if err := p.addParents(tree, path.Dir(name)); err != nil {
			return nil, err
		}
		e, _ := p.whole.Lookup(name)
		if err := tree.Add(e); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

func (p Part) addParents(tree *initramfs.Tree, dir string) error {
	if _, there := tree.Lookup(dir); there || dir == "." {
		return nil
	}
	if err := p.addParents(tree, path.Dir(dir)); err != nil {
		return err
	}
	e, _ := p.whole.Lookup(dir)
	return tree.Add(e)
}

// sharedPiece is the part with the files that have several names: the kernel
// recognises hard links only within one archive.
const sharedPiece = "shared"

// Parts divides the store: a part for each layer, or for all of them if they
// are packed, one for the files that layers share, and the rest, which comes
// first. Trees are built on demand.
func (r *Result) Parts() []Part {
	parts := []Part{{whole: r.Tree}}
	at := map[string]int{}
	moved := map[string][]string{} // from a layer to the part of shared files
	for e := range r.Tree.All() {
		piece, compressed := pieceOf(e.Path)
		if r.shared[e.Path] {
			moved[piece] = append(moved[piece], e.Path)
			moved[sharedPiece] = append(moved[sharedPiece], e.Path, e.Target)
			piece = sharedPiece
		}
		i, known := at[piece]
		if !known && piece != "" {
			i = len(parts)
			at[piece] = i
			parts = append(parts, Part{Compressed: compressed, whole: r.Tree})
		}
		parts[i].paths = append(parts[i].paths, e.Path)
	}
	for piece, i := range at {
		parts[i].Key = derivedKey(append([]string{partVersion, piece, r.packedAs}, moved[piece]...)...)
	}
	return parts
}

// isLayerFile reports whether a path is below a layer's diff directory.
func isLayerFile(name string) bool {
	piece, _ := pieceOf(name)
	return piece != "" && piece != layersFile
}

// pieceOf returns the part to which a file belongs: a layer's, by its chain ID,
// that of the packed layers, or the rest ("").
func pieceOf(name string) (piece string, compressed bool) {
	inStore, ok := strings.CutPrefix(name, StorePath+"/")
	if !ok {
		return "", false
	}
	if inStore == layersFile {
		return layersFile, true
	}
	below, ok := strings.CutPrefix(inStore, graphDir+"/")
	if !ok {
		return "", false
	}
	if id, _, inDiff := strings.Cut(below, "/diff/"); inDiff && !strings.Contains(id, "/") {
		return id, false
	}
	return "", false
}
