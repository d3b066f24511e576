package embed

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/initramfs"
)

// listed is an access control list as getxattr(2) returns it: the owner reads
// and writes, user 7 reads, all others have no access.
const listed = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x07\x00\x00\x00\x04\x00\x00\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"

// A squashfs cannot hold access control lists. The image is embedded without
// them, with a warning; everything else about the files stays.
func TestPackedLayoutWithoutACLs(t *testing.T) {
	both := withAttr(aFile("etc/secret", "secret", 0o640), "system.posix_acl_access", listed)
	both.PAXRecords["SCHILY.xattr.user.note"] = "kept"
	h := startHub(t, map[string]v1.Image{"listed": theImage(t, theLayer(t, both, aLink("etc/secret-too", "etc/secret", 0o640),
		withAttr(aDir("srv", 0o750), "system.posix_acl_default", listed), aFile("srv/plain", "plain", 0o644)))})
	var said warnings
	s, err := Open(treeOf(t, h, Options{Layout: Packed, Progress: &said}, "listed").Tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := s.openLayers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := s.images[0].layers[0].cacheID
	secret, _ := layers.Lookup(id + "/etc/secret")
	if diff := cmp.Diff(map[string]string{"user.note": "kept"}, secret.Xattrs); diff != "" || secret.Mode != 0o640 {
		t.Errorf("mode %o, %s", secret.Mode, diff)
	}
	if link, _ := layers.Lookup(id + "/etc/secret-too"); link.Type != initramfs.HardLink {
		t.Errorf("the second name is a %s", link.Type)
	}
	if dir, _ := layers.Lookup(id + "/srv"); len(dir.Xattrs) > 0 || dir.Mode != 0o750 {
		t.Errorf("mode %o, %v", dir.Mode, dir.Xattrs)
	}
	if len(said.text) != 1 || !strings.Contains(said.text[0], `2 files have POSIX access control lists, first "etc/secret" of image `) {
		t.Errorf("the warnings are %q", said.text)
	}
}
