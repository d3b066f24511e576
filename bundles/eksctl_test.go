package bundles

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

func TestParseEksctl(t *testing.T) {
	const bundle, list = "https://a.example/releases/bundles/124/manifest.yaml", "https://a.example/releases/eks-a/manifest.yaml"
	full := eksctlVersion{"v0.26.1", bundle, list}
	for name, tt := range map[string]struct {
		text string
		want eksctlVersion
	}{
		"bare":          {"v0.18.3\n", eksctlVersion{Version: "v0.18.3"}},
		"bare dev":      {"v0.27.0-dev+build.12\n", eksctlVersion{Version: "v0.27.0-dev+build.12"}},
		"two lines":     {"Version: v0.18.5\nBundle Manifest URL: " + bundle + "\n", eksctlVersion{"v0.18.5", bundle, ""}},
		"three lines":   {"Version: v0.26.1\r\nRelease Manifest URL: " + list + "\r\nBundle Manifest URL: " + bundle + "\r\n", full},
		"json":          {`{"version":"v0.26.1","bundleManifestURL":"` + bundle + `","releaseManifestURL":"` + list + `"}`, full},
		"yaml":          {"bundleManifestURL: " + bundle + "\nreleaseManifestURL: " + list + "\nversion: v0.26.1\n\n", full},
		"offline lines": {"Version: v0.26.1\n", eksctlVersion{Version: "v0.26.1"}},
		"offline json":  {`{"version":"v0.26.1"}` + "\n", eksctlVersion{Version: "v0.26.1"}},
		"verbose":       {"2026-08-14T10:00:00.000Z\tV4\tReading release manifest\t{\"url\": \"x\"}\nInitializing long running container\nVersion: v0.26.1\nRelease Manifest URL: " + list + "\nBundle Manifest URL: " + bundle + "\n", full},
		"log objects":   {`{"level":"info"}` + "\n" + `{"version":"v0.26.1","bundleManifestURL":"` + bundle + `","releaseManifestURL":"` + list + `"}`, full},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readEksctl(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseEksctlErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, word string }{
		"empty":       {" \n", "plugin"},
		"usage":       {"Error: unknown command \"anywhere\" for \"eksctl\"\n", "unknown command"},
		"bad json":    {`{"version":`, "decoding"},
		"bad version": {"Version: latest\n", `"latest"`},
		"huge":        {string(make([]byte, maxEksctlOutput+1)), "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readEksctl(tt.text)
			wantError(t, err, "eksctl anywhere version", tt.word, "--eksa-version or --bundle")
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d", fault.KindOf(err))
			}
		})
	}
}

func FuzzParseEksctl(f *testing.F) {
	f.Add("Version: v0.26.1\nBundle Manifest URL: https://x\n")
	f.Add(`{"version":"v0.26.1"}`)
	f.Add("v0.18.3")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := readEksctl(text)
		if err == nil && v.Version == "" {
			t.Error("no version and no error")
		}
	})
}
