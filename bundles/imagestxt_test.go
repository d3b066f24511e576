package bundles

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

func TestReadList(t *testing.T) {
	const text = "\ufeff# comment\n\nquay.io/t/tink-worker:v0.10.0\r\nquay.io/t/tink-worker:v0.10.0 tink-worker:v0.10.0 true\n" +
		"  quay.io/t/image2disk   embedded/image2disk false\nr.example/x@" + "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000 x\noci:dir/x 127.0.0.1/embedded/x"
	l, err := ReadList(strings.NewReader(text), "images.txt")
	if err != nil {
		t.Fatal(err)
	}
	zero := "sha256:" + strings.Repeat("0", 64)
	want := List{
		{"quay.io/t/tink-worker:v0.10.0", "", false, "images.txt:3"},
		{"quay.io/t/tink-worker:v0.10.0", "tink-worker:v0.10.0", true, "images.txt:4"},
		{"quay.io/t/image2disk", "embedded/image2disk", false, "images.txt:5"},
		{"r.example/x@" + zero, "x", false, "images.txt:6"},
		{"oci:dir/x", "127.0.0.1/embedded/x", false, "images.txt:7"},
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Fatal(diff)
	}
	images, err := l.Images()
	if err != nil {
		t.Fatal(err)
	}
	wantImages := []Image{
		{Key: "images.txt:3", Name: "tink-worker", Source: "quay.io/t/tink-worker:v0.10.0", EmbedNames: []string{"tink-worker:v0.10.0"}},
		{Key: "images.txt:5", Name: "image2disk", Source: "quay.io/t/image2disk", EmbedNames: []string{"embedded/image2disk:latest", "quay.io/t/image2disk:latest"}},
		{Key: "images.txt:6", Name: "x", Source: "r.example/x", Digest: zero, Pinned: "r.example/x@" + zero, EmbedNames: []string{"x:latest"}},
		{Key: "images.txt:7", Name: "x", Source: "oci:dir/x", EmbedNames: []string{"127.0.0.1/embedded/x:latest"}},
	}
	if diff := cmp.Diff(wantImages, images); diff != "" {
		t.Error(diff)
	}
}

func TestReadListErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text  string
		words []string
	}{
		"empty":         {"# only\n", []string{`"l.txt"`, "names no images"}},
		"hardware":      {"cp-1;10.0.0.1;root;hunter2\n", []string{`"l.txt:1": it seems to be a table of values`}},
		"few values":    {"root,hunter2\n", []string{`"l.txt:1": the line has a comma or semicolon`}},
		"four words":    {"a b true x\n", []string{`"l.txt:1"`, "4 words"}},
		"bad source":    {"\nUPPER/x\n", []string{`"l.txt:2"`, "UPPER/x"}},
		"bad digest":    {"r.example/x@sha256:1\n", []string{`"l.txt:1"`, "sha256:1", "copy the whole digest"}},
		"a web page":    {"<!DOCTYPE html>\n<p>404\n", []string{`"l.txt": it is an HTML or XML page`}},
		"a late page":   {"\n \n<!DOCTYPE html>\n<p>404\n", []string{`"l.txt": it is an HTML or XML page`}},
		"nameless":      {"r.example/x@" + digestA + "\n", []string{`"l.txt:1"`, "no tag"}},
		"bad name":      {"r.example/x Bad/Name\n", []string{`"l.txt:1"`, "Bad/Name"}},
		"bad third":     {"r.example/x x yes\n", []string{`"l.txt:1"`, `"yes"`, "true"}},
		"digest as new": {"r.example/x x@" + digestA + "\n", []string{`"l.txt:1"`, "new name"}},
		"long line":     {"a\n" + strings.Repeat("x", maxListLine+1), []string{"l.txt:2", "4096"}},
		"many lines":    {strings.Repeat("#\n", maxListLines+1), []string{"l.txt:10001", "10000 lines"}},
		"binary":        {"\x00\x01\x02", []string{"l.txt:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadList(strings.NewReader(tt.text), "l.txt")
			wantError(t, err, tt.words...)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d", fault.KindOf(err))
			}
		})
	}
	l, err := ReadList(strings.NewReader("r.example/a x\nr.example/b x\n"), "l.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Images()
	wantError(t, err, "l.txt:1", "l.txt:2", "x:latest")
	_, err = List{{Source: "r.example/a b:v1"}}.Images()
	wantError(t, err, `reference "r.example/a b:v1": it has a space`)
}

// TestWriteListForOlderTools compares the exact text, because older tools split at
// single spaces and have no comments.
func TestWriteListForOlderTools(t *testing.T) {
	b := maker{release: "v0.24.0", worker: "r.example/tinkerbell/tink/tink-worker:w1"}.parse(t)
	images, err := b.Images(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var plain, pinned bytes.Buffer
	if err := ListOf(images, false).Write(&plain); err != nil {
		t.Fatal(err)
	}
	const want = "r.example/tinkerbell/hub/image2disk:t1 127.0.0.1/embedded/image2disk:latest true\nr.example/tinkerbell/tink/tink-worker:w1 127.0.0.1/embedded/tink-worker:latest true\n"
	if diff := cmp.Diff(want, plain.String()); diff != "" {
		t.Error(diff)
	}
	if err := ListOf(images, true).Write(&pinned); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pinned.String(), "image2disk:t1@"+digestA+" 127") {
		t.Errorf("not pinned: %s", &pinned)
	}
}

// TestListKeepsDigests checks that a digest in a list is kept, although a bundle's is
// left out for older tools.
func TestListKeepsDigests(t *testing.T) {
	line := "r.example/x:1@" + digestA + " 127.0.0.1/embedded/x:latest true\n"
	l, err := ReadList(strings.NewReader(line), "l.txt")
	if err != nil {
		t.Fatal(err)
	}
	images, err := l.Images()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := ListOf(images, false).Write(&out); err != nil || out.String() != line {
		t.Errorf("got %q, %v; want %q", &out, err, line)
	}
}

func TestListRoundTrip(t *testing.T) {
	m := maker{worker: "public.ecr.aws/x/tink-worker:w1", actions: []string{"cexec public.ecr.aws/x/cexec:1 " + digestA, "kexec public.ecr.aws/x/kexec:1"}}
	for _, choice := range []SourceNames{Keep, Drop} {
		for _, mirrors := range [][]Mirror{nil, {{"public.ecr.aws", "m.example"}}} {
			images, err := m.parse(t).Images(Options{SourceNames: choice, Mirrors: mirrors})
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, images)
		}
	}
}

// checkRoundTrip writes the images as a pinned list and reads them back.
func checkRoundTrip(t *testing.T, images []Image) {
	t.Helper()
	var text bytes.Buffer
	if err := ListOf(images, true).Write(&text); err != nil {
		t.Fatal(err)
	}
	l, err := ReadList(&text, "round")
	if err != nil {
		t.Fatal(err)
	}
	back, err := l.Images()
	if err != nil {
		t.Fatal(err)
	}
	names := func(images []Image) map[string]map[string]bool {
		m := map[string]map[string]bool{}
		for _, img := range images {
			if m[img.Reference()] == nil {
				m[img.Reference()] = map[string]bool{}
			}
			for _, n := range img.EmbedNames {
				m[img.Reference()][n] = true
			}
		}
		return m
	}
	if diff := cmp.Diff(names(images), names(back)); diff != "" {
		t.Errorf("after writing and reading: %s", diff)
	}
}

func TestWriteJSON(t *testing.T) {
	b := maker{release: "v0.24.0"}.parse(t)
	images, err := b.Images(Options{NoWorker: true})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteJSON(&out, b, nil, images); err != nil {
		t.Fatal(err)
	}
	want := `{"bundle":{"origin":"test.yaml","number":7,"release":"v0.24.0"},"images":[{"key":"actions.imageToDisk","name":"image2disk","source":"r.example/tinkerbell/hub/image2disk:t1","digest":"` + digestA +
		`","embedNames":["127.0.0.1/embedded/image2disk:latest"],"arch":["amd64","arm64"],"reference":"r.example/tinkerbell/hub/image2disk:t1@` + digestA + `"}]}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, compact.String()); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("# x\nr.example/a:1 b true\nr.example/a:1\noci:x y\n")
	f.Add("r.example/a@" + digestA + " b")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ReadList(strings.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		images, err := l.Images()
		if err != nil {
			return
		}
		checkRoundTrip(t, images)
	})
}
