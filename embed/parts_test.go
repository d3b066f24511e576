package embed

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
)

// The parts, unpacked over one another, make up the whole.
func TestParts(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			r := treeOf(t, h, Options{Layout: layout}, "one", "two")
			whole := &initramfs.Tree{}
			for i, p := range r.Parts() {
				if (p.Key == "") != (i == 0) {
					t.Errorf("part %d has the key %q", i, p.Key)
				}
				tree, err := p.Tree()
				if err != nil {
					t.Fatal(err)
				}
				if err := whole.Graft("", tree); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(listing(t, r.Tree), listing(t, whole)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPartsHaveTheKeysOfTheirLayers(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	keys := func(images ...string) map[string]bool {
		found := map[string]bool{}
		for _, p := range treeOf(t, h, Options{Layout: Directory}, images...).Parts()[1:] {
			found[p.Key] = true
		}
		return found
	}
	one, two := keys("one"), keys("one", "two", "none")
	if len(one) != 1 || len(two) != 2 {
		t.Fatalf("%d and %d layers, want 1 and 2", len(one), len(two))
	}
	for k := range one {
		if !two[k] {
			t.Error("the layer that both stores have has two keys")
		}
	}
}
