package oci

import (
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Progress names an image in two words.
func TestShortName(t *testing.T) {
	for ref, want := range map[string]string{
		"registry.example:5000/tinkerbell/actions/cexec:v1@sha256:1e1e": "cexec v1",
		"registry.example:5000/cexec":                                   "cexec", "cexec:v1": "cexec v1", "ghcr.io/x/cexec@sha256:1e1e": "cexec",
	} {
		if got := shortName(ref); got != want {
			t.Errorf("%s: %q, want %q", ref, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, tc := range []struct {
		offered []string // platforms; "-" means none
		want    string
		gets    int // index of the expected choice, -1 for none
	}{
		{[]string{"linux/amd64", "linux/arm64"}, "linux/arm64", 1},
		{[]string{"linux/arm64/v8"}, "linux/arm64", 0},
		{[]string{"linux/arm64/v9", "linux/arm64/v8"}, "linux/arm64", 1},
		{[]string{"linux/arm64/v8", "linux/arm64"}, "linux/arm64", 1},
		{[]string{"linux/amd64/v3", "linux/amd64"}, "linux/amd64", 1},
		{[]string{"linux/amd64/v3", "linux/amd64"}, "linux/amd64/v3", 0},
		{[]string{"linux/amd64/v2", "linux/amd64"}, "linux/amd64/v3", 1},
		{[]string{"linux/amd64/v2"}, "linux/amd64/v3", -1},
		{[]string{"linux/amd64/v3"}, "linux/amd64", 0},
		{[]string{"windows/amd64", "linux/arm64"}, "linux/amd64", -1},
		{[]string{"unknown/unknown", "linux/arm64"}, "linux/arm64", 1},
		{[]string{"-"}, "linux/arm64", 0},
		{[]string{"-", "-"}, "linux/arm64", -1},
		{[]string{"-", "unknown/unknown"}, "linux/arm64", 0},
		{nil, "linux/arm64", -1},
	} {
		var offered []v1.Descriptor
		for i, text := range tc.offered {
			d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(i)}
			if text != "-" {
				d.Platform = mustParse(t, text)
			}
			offered = append(offered, d)
		}
		got, err := choose(offered, *mustParse(t, tc.want))
		if tc.gets < 0 {
			mentions(t, err, tc.want)
		} else if err != nil || got.Size != int64(tc.gets) {
			t.Errorf("%q out of %q: got %d, %v", tc.want, tc.offered, got.Size, err)
		}
	}
}

func mustParse(t *testing.T, text string) *v1.Platform {
	t.Helper()
	p, err := v1.ParsePlatform(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConfigurationsThatDoNotFit(t *testing.T) {
	layer := hashOf([]byte("x"))
	for text, want := range map[string]string{
		"{": "unexpected",
		fmt.Sprintf(`{"rootfs":{"diff_ids":[%q,%q]}}`, layer, layer): "2 layers, but the manifest 1",
		`{}`:                                     "0 layers",
		`{"rootfs":{"diff_ids":["sha256:123"]}}`: "123",
	} {
		_, err := parseConfig([]byte(text), 1)
		mentions(t, err, want)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		if d, err := choose(m.Manifests, amd64); err == nil && d.Platform != nil && d.Platform.Architecture != "amd64" {
			t.Errorf("chose %s", d.Platform)
		}
		for _, d := range m.Layers {
			if checkLayer(d) == nil && d.Size < 0 {
				t.Errorf("accepted the size %d", d.Size)
			}
		}
	})
}
