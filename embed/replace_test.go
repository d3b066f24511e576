package embed

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
)

// A store is taken out of an initramfs and put into another with one more
// image.
func TestItemsOfAStore(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	old := []Item{
		{Image: h.pull(t, "two"), Names: []string{"127.0.0.1/embedded/two", h.ref("two")}},
		{Image: h.pull(t, "none"), Names: []string{"none:1"}},
	}
	before, err := Tree(t.Context(), old, Options{Layout: Directory, Cache: h.cache})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(throughArchive(t, before.Tree), h.cache)
	if err != nil {
		t.Fatal(err)
	}
	kept, notes, err := s.Items(t.Context(), h.client, t.TempDir())
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	one := Item{Image: h.pull(t, "one"), Names: []string{"127.0.0.1/embedded/one"}}
	after, err := Tree(t.Context(), append(kept, one), Options{Layout: Directory, Cache: h.cache})
	if err != nil {
		t.Fatal(err)
	}
	want, err := Tree(t.Context(), append(old, one), Options{Layout: Directory, Cache: h.cache})
	if err != nil {
		t.Fatal(err)
	}
	byID := func(a, b Embedded) int { return slices.Compare([]byte(a.ID.Hex), []byte(b.ID.Hex)) }
	slices.SortFunc(after.Images, byID)
	slices.SortFunc(want.Images, byID)
	if diff := cmp.Diff(want.Images, after.Images); diff != "" {
		t.Error(diff)
	}
}

func TestStrip(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	tree := treeOf(t, h, Options{Layout: Directory}, "one").Tree
	if err := tree.Add(initramfs.BytesFile("etc/init.d/002-vlan.sh", nil, initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	if !Strip(tree) {
		t.Error("no store was found")
	}
	var left []string
	for e := range tree.All() {
		left = append(left, e.Path)
	}
	if want := []string{"etc", "etc/init.d", "etc/init.d/002-vlan.sh"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
	if Strip(tree) {
		t.Error("a store was found where none is")
	}
}
