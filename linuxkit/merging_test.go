package linuxkit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"

	"github.com/google/go-cmp/cmp"
)

// Two init images whose files overlap. What want does not list was replaced.
func TestInitImagesMeet(t *testing.T) {
	merged := []string{"usr", "usr/bin", "usr/lib", "usr/lib/os=x", "bin->usr/bin", "lib->usr/lib", "sbin->/usr/bin"}
	tests := map[string]struct{ first, second, want []string }{
		"directories over a merged /usr": {merged, []string{"bin", "bin/a=1", "lib/m", "lib/m/b=2", "sbin", "sbin/c=3"},
			[]string{"bin->usr/bin", "lib->usr/lib", "sbin->/usr/bin", "usr", "usr/bin", "usr/bin/a=1", "usr/bin/c=3", "usr/lib", "usr/lib/m", "usr/lib/m/b=2", "usr/lib/os=x"}},
		"a merged /usr over itself":           {merged, merged, slices.Concat(merged[4:], merged[:4])},
		"a file of the merged /usr":           {merged, []string{"lib/os=y"}, []string{"bin->usr/bin", "lib->usr/lib", "sbin->/usr/bin", "usr", "usr/bin", "usr/lib", "usr/lib/os=y"}},
		"symlinks one after the other":        {[]string{"a/b", "c->a", "d->c/b"}, []string{"d/x=1"}, []string{"a", "a/b", "a/b/x=1", "c->a", "d->c/b"}},
		"symlink that leaves the root":        {[]string{"a", "l->../../a"}, []string{"l/x=1"}, []string{"a", "a/x=1", "l->../../a"}},
		"file over a file":                    {[]string{"a=1"}, []string{"a=2"}, []string{"a=2"}},
		"file over an empty directory":        {[]string{"a"}, []string{"a=2"}, []string{"a=2"}},
		"file over a symlink":                 {[]string{"a->b", "b=1"}, []string{"a=2"}, []string{"a=2", "b=1"}},
		"directory over a file":               {[]string{"a=1"}, []string{"a", "a/b=2"}, []string{"a", "a/b=2"}},
		"directory over a dangling symlink":   {[]string{"a->b"}, []string{"a/c=2"}, []string{"a", "a/c=2"}},
		"directory over a circle of symlinks": {[]string{"a->b", "b->a"}, []string{"a/c=2"}, []string{"a", "a/c=2", "b->a"}},
		"directory over a file's symlink":     {[]string{"a->b", "b=1"}, []string{"a", "a/c=2"}, []string{"a", "a/c=2", "b=1"}},
		"symlink over a file":                 {[]string{"a=1"}, []string{"a->b"}, []string{"a->b"}},
		"symlink over an empty directory":     {[]string{"a"}, []string{"a->b"}, []string{"a->b"}},
		"symlink over a symlink":              {[]string{"a->b", "b/x=1"}, []string{"a->c"}, []string{"a->c", "b", "b/x=1"}},
		"file over one name of a file":        {[]string{"a=1", "b=>a", "c=>a"}, []string{"a=2"}, []string{"a=2", "b=1", "c=>b"}},
		"hard links over files":               {[]string{"a=1", "b=2"}, []string{"a=3", "b=>a"}, []string{"a=3", "b=>a"}},
		"hard link through a symlink":         {merged, []string{"lib/a=1", "lib/b=>lib/a"}, []string{"bin->usr/bin", "lib->usr/lib", "sbin->/usr/bin", "usr", "usr/bin", "usr/lib", "usr/lib/a=1", "usr/lib/b=>usr/lib/a", "usr/lib/os=x"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res, err := meet(t, test.first, test.second)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, ownFiles(t, res)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// An error about lost files names both images, in whichever order they come.
func TestInitImagesThatCannotMeet(t *testing.T) {
	for name, files := range map[string][2][]string{
		"file over a filled directory":             {{"a/b=1"}, {"a=2"}},
		"hard link over a filled directory":        {{"a/b=1"}, {"c=2", "a=>c"}},
		"symlink over a filled directory":          {{"lib/x=1"}, {"usr/lib/y=2", "lib->usr/lib"}},
		"file over a filled directory, by symlink": {{"usr/lib/x/y=1", "lib->usr/lib"}, {"lib/x=2"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := meet(t, files[0], files[1])
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range []string{"linuxkit/init:1", "linuxkit/runc:1"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			var conflict *initramfs.ConflictError
			if !errors.As(err, &conflict) {
				t.Errorf("%v is no conflict", err)
			}
		})
	}
}

func meet(t *testing.T, first, second []string) (*Result, error) {
	t.Helper()
	return assembleSmall(t, func(doc *Document, o *Options) {
		doc.Onboot, doc.Services, doc.Files = nil, nil, nil
		o.Images = images{
			"docker.io/library/kern:1":  image(t, "kernel=KERNEL", "kernel.tar="),
			"docker.io/linuxkit/init:1": image(t, first...),
			"docker.io/linuxkit/runc:1": image(t, second...),
		}
	})
}

// ownFiles lists the result in the notation of tree, without the files that
// every root file system has.
func ownFiles(t *testing.T, res *Result) []string {
	t.Helper()
	var out []string
	for e := range res.Tree.All() {
		top, _, _ := strings.Cut(e.Path, "/")
		if slices.Contains([]string{"boot", "dev", "etc", "proc", "sys"}, top) {
			continue
		}
		switch e.Type {
		case initramfs.Regular:
			out = append(out, e.Path+"="+content(t, e))
		case initramfs.Symlink:
			out = append(out, e.Path+"->"+e.Target)
		case initramfs.HardLink:
			out = append(out, e.Path+"=>"+e.Target)
		default:
			out = append(out, e.Path)
		}
	}
	return out
}
