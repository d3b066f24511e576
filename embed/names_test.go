package embed

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
)

func hashOf(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// pulled returns an image as it comes from a registry.
func pulled(t *testing.T, source, id string) *oci.Image {
	t.Helper()
	ref, err := name.ParseReference(source)
	if err != nil {
		t.Fatal(err)
	}
	return &oci.Image{Source: source, Reference: ref, ID: hashOf(id), Digest: hashOf("d"), IndexDigest: hashOf("e")}
}

func TestName(t *testing.T) {
	for given, want := range map[string]string{
		"alpine":                                "alpine:latest",
		"docker.io/library/alpine:3":            "alpine:3",
		"index.docker.io/library/alpine":        "alpine:latest",
		"docker.io/tinkerbell/x":                "tinkerbell/x:latest",
		"127.0.0.1/embedded/cexec":              "127.0.0.1/embedded/cexec:latest",
		"localhost:5000/a:b":                    "localhost:5000/a:b",
		"a@sha256:" + strings.Repeat("0", 64):   "a@sha256:" + strings.Repeat("0", 64),
		"a:b@sha256:" + strings.Repeat("0", 64): "a:b@sha256:" + strings.Repeat("0", 64),
	} {
		if got, err := Name(given); err != nil || got != want {
			t.Errorf("Name(%q) = %q, %v; want %q", given, got, err, want)
		}
	}
}

func TestNameRefused(t *testing.T) {
	for _, given := range []string{"", "A", "a:", "a:b:c", "a b", "https://x/y", "-a", "a/../b", "sha256:abc", "sha256", strings.Repeat("0", 64), "a@sha256:00"} {
		got, err := Name(given)
		if err == nil {
			t.Errorf("Name(%q) = %q, want an error", given, got)
			continue
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("Name(%q): the error %q is of kind %d", given, err, fault.KindOf(err))
		}
	}
}

func TestNameTable(t *testing.T) {
	e, d := hashOf("e").String(), hashOf("d").String()
	for title, test := range map[string]struct {
		source         string
		given          []string
		names, digests []string
	}{
		"another name carries no digest": {
			"quay.io/tinkerbell/cexec:v1", []string{"127.0.0.1/embedded/cexec"},
			[]string{"127.0.0.1/embedded/cexec:latest"}, nil,
		},
		"the original name brings its digest": {
			"quay.io/tinkerbell/cexec:v1", []string{"quay.io/tinkerbell/cexec:v1"},
			[]string{"quay.io/tinkerbell/cexec:v1"}, []string{"quay.io/tinkerbell/cexec@" + e},
		},
		"another tag of the original repository too": {
			"alpine:3", []string{"docker.io/library/alpine:latest"},
			[]string{"alpine:latest"}, []string{"alpine@" + e},
		},
		"a digest alone": {
			"alpine@" + e, []string{"alpine@" + e},
			nil, []string{"alpine@" + e},
		},
		"a tag and a digest": {
			"alpine:3", []string{"alpine:3@" + e},
			[]string{"alpine:3"}, []string{"alpine@" + e},
		},
		"the digest of the platform's manifest": {
			"alpine:3", []string{"alpine:3@" + d},
			[]string{"alpine:3"}, []string{"alpine@" + d},
		},
		"the same name twice": {
			"alpine:3", []string{"x", "docker.io/library/x:latest"},
			[]string{"x:latest"}, nil,
		},
	} {
		t.Run(title, func(t *testing.T) {
			table, im := newNameTable(), pulled(t, test.source, "1")
			for _, n := range test.given {
				if err := table.add(im, n); err != nil {
					t.Fatal(err)
				}
			}
			names, digests := table.of(im.ID)
			if diff := cmp.Diff(test.names, names); diff != "" {
				t.Errorf("names: %s", diff)
			}
			if diff := cmp.Diff(test.digests, digests); diff != "" {
				t.Errorf("digests: %s", diff)
			}
		})
	}
}

func TestNameTableRefuses(t *testing.T) {
	table := newNameTable()
	if err := table.add(pulled(t, "first:1", "1"), "x"); err != nil {
		t.Fatal(err)
	}
	err := table.add(pulled(t, "second:1", "2"), "docker.io/library/x:latest")
	if err == nil || !strings.Contains(err.Error(), "first:1") || !strings.Contains(err.Error(), "second:1") {
		t.Errorf("a name for two images: %v", err)
	}
	err = table.add(pulled(t, "first:1", "1"), "x@"+hashOf("9").String())
	if err == nil || !strings.Contains(err.Error(), hashOf("e").String()) {
		t.Errorf("a digest of another image: %v", err)
	}
}

func TestNameTableEncode(t *testing.T) {
	table := newNameTable()
	if err := table.add(pulled(t, "quay.io/b:2", "1"), "quay.io/b:2"); err != nil {
		t.Fatal(err)
	}
	body, err := table.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Repositories":{"quay.io/b":{"quay.io/b:2":"` + hashOf("1").String() + `","quay.io/b@` + hashOf("e").String() + `":"` + hashOf("1").String() + `"}}}`
	if string(body) != want {
		t.Errorf("got %s, want %s", body, want)
	}
}

// Lookup finds what dockerd finds, and nothing by a name that only looks
// similar.
func TestLookup(t *testing.T) {
	names := newNameTable()
	one, other := pulled(t, "alpine:3", "1"), pulled(t, "quay.io/x/cexec:v1", "2")
	for name, im := range map[string]*oci.Image{"alpine:3": one, "127.0.0.1/embedded/cexec": other, "docker.io/gone/gone": pulled(t, "gone/gone", "3")} {
		if err := names.add(im, name); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{names: names, images: []*storedImage{{id: one.ID}, {id: other.ID}}}
	e, d := hashOf("e").String(), hashOf("d").String()
	for name, want := range map[string]v1.Hash{
		"alpine:3": one.ID, "docker.io/library/alpine:3": one.ID, "alpine@" + e: one.ID, "alpine:edge@" + e: one.ID,
		"127.0.0.1/embedded/cexec": other.ID, "127.0.0.1/embedded/cexec:latest": other.ID,
		"alpine": {}, "alpine:3@" + d: {}, "quay.io/x/cexec:v1": {}, "127.0.0.1/embedded/cexec@" + e: {}, "embedded/cexec": {},
		"gone/gone": {}, // a name without its image
	} {
		if got, ok, err := s.Lookup(name); err != nil || got != want || ok != (want != v1.Hash{}) {
			t.Errorf("%s: got %s, %t, %v", name, got, ok, err)
		}
	}
	if _, _, err := s.Lookup("A"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}
