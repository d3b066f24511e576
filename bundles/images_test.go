package bundles

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

// TestLayouts reads manifests in every layout that EKS Anywhere's releases have
// had, written as its release tool writes them.
func TestLayouts(t *testing.T) {
	const fake = "sha256:c1f643b34c0740a67701a6aea5e0a8f69840daed053827cca0837e3472c97a23"
	const reg = "registry.example/eks/tinkerbell/"
	const actionsTag = ":1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e-build.1"
	all := []string{"cexec", "image2disk", "kexec", "oci2disk", "reboot", "writefile"}
	tests := []struct {
		file, folder, tag, worker string
		kubes                     int
	}{
		{"hub.yaml", "hub/", "", "tink/tink-worker:v0.8.0-build.1", 2},
		{"hub-iso.yaml", "hub/", "", "tink/tink-worker:v0.12.2-build.1", 2},
		{"actions.yaml", "actions/", actionsTag, "tink/tink-worker:v0.12.2-build.1", 3},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			b := parseSample(t, tt.file)
			if got := len(b.kubeVersions()); got != tt.kubes {
				t.Errorf("%d Kubernetes versions, want %d", got, tt.kubes)
			}
			images, err := b.Images(Options{SourceNames: Drop})
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range all {
				img := images[i]
				if img.Name != name || !strings.HasPrefix(img.Source, reg+tt.folder+name+":") || !strings.HasSuffix(img.Source, tt.tag) || img.Digest != fake {
					t.Errorf("%+v, want %s", img, name)
				}
				if want := []string{"127.0.0.1/embedded/" + name + ":latest"}; !cmp.Equal(img.EmbedNames, want) {
					t.Errorf("names %q, want %q", img.EmbedNames, want)
				}
			}
			want := Image{Key: "tink.tinkWorker", Name: "tink-worker", Source: reg + tt.worker, Digest: fake,
				EmbedNames: []string{"127.0.0.1/embedded/tink-worker:latest"}, Arch: []string{"amd64", "arm64"}}
			if diff := cmp.Diff([]Image{want}, images[len(all):]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeysAndNamesDiffer(t *testing.T) {
	images, err := parseSample(t, "actions.yaml").Images(Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, img := range images {
		got[img.Key] = img.Name
	}
	want := map[string]string{"actions.cexec": "cexec", "actions.kexec": "kexec", "actions.imageToDisk": "image2disk", "actions.ociToDisk": "oci2disk",
		"actions.writeFile": "writefile", "actions.reboot": "reboot", "tink.tinkWorker": "tink-worker"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDistinctDigests reads a development bundle, in which every image has a
// different digest and build number.
func TestDistinctDigests(t *testing.T) {
	images, err := parseSample(t, "distinct.yaml").Images(Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, img := range images {
		seen[img.Digest] = true
		if img.Reference() != img.Source+"@"+img.Digest {
			t.Errorf("%s is not pinned", img.Reference())
		}
	}
	if len(images) != 7 || len(seen) != 7 {
		t.Errorf("%d images with %d digests, want 7 and 7", len(images), len(seen))
	}
}

func TestMixedEntriesUseTheOneWithAStack(t *testing.T) {
	b := parseSample(t, "mixed.yaml")
	images, err := b.Images(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w := images[len(images)-1].Source; !strings.HasSuffix(w, "tink-worker:v0.8.0-build.1") {
		t.Errorf("worker %s", w)
	}
	_, err = b.Images(Options{KubeVersion: "1.18"})
	wantError(t, err, `"1.18"`, "not for bare metal")
}

func TestNoWorkerSinceV025(t *testing.T) {
	b := parseSample(t, "agent.yaml")
	_, err := b.Images(Options{})
	wantError(t, err, "names no worker", "v0.25.0", "--worker-image", "--worker-from", "--no-worker")
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("kind %d", fault.KindOf(err))
	}
	images, err := b.Images(Options{NoWorker: true})
	if err != nil || len(images) != 6 {
		t.Errorf("%d images, %v; want the six actions", len(images), err)
	}
	images, err = b.Images(Options{WorkerImage: "ghcr.io/tinkerbell/tink-agent:sha@" + digestA, SourceNames: Drop})
	if err != nil {
		t.Fatal(err)
	}
	want := Image{Key: "--worker-image", Name: "tink-worker", Source: "ghcr.io/tinkerbell/tink-agent:sha", Digest: digestA, EmbedNames: []string{"127.0.0.1/embedded/tink-worker:latest"}}
	if diff := cmp.Diff(want, images[6]); diff != "" {
		t.Error(diff)
	}
	_, err = b.Images(Options{NoWorker: true, WorkerImage: "x"})
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("both worker options: %v", err)
	}
}

// TestSourceNames checks which releases ask HookOS for images by the names in the
// bundle.
func TestSourceNames(t *testing.T) {
	keeps := map[string]bool{"": true, "v0.0.0-dev+build.9": true, "v0.18.0": true, "v0.20.11": true, "v0.21.0": true, "v0.22.0": true, "v0.22.7": true, "v0.22.8": false,
		"v0.23.0": true, "v0.23.1": true, "v0.23.2": false, "v0.24.0": false, "v0.26.1": false, "v1.0.0": false}
	for release, keep := range keeps {
		m := maker{release: release, worker: "r.example/tinkerbell/tink/tink-worker:w1"}
		for choice, want := range map[SourceNames]bool{ByRelease: keep, Keep: true, Drop: false} {
			images, err := m.parse(t).Images(Options{SourceNames: choice})
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range images {
				if img.KeepsSource() != want {
					t.Errorf("%q, choice %d: %s keeps %q", release, choice, img.Key, img.EmbedNames)
				}
			}
		}
	}
}

// TestReplacedWorkerHasTheBundlesName covers the releases that ask HookOS for the
// name in the bundle, or in the site's mirror.
func TestReplacedWorkerHasTheBundlesName(t *testing.T) {
	m := maker{release: "v0.22.3", worker: "public.ecr.aws/eks-anywhere/tinkerbell/tink/tink-worker:w1@" + digestA}
	images, err := m.parse(t).Images(Options{WorkerImage: "other.example/my-agent", Mirrors: []Mirror{{"public.ecr.aws", "mirror.example:443/ns"}, {"public.ecr", "no.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"127.0.0.1/embedded/tink-worker:latest", "public.ecr.aws/eks-anywhere/tinkerbell/tink/tink-worker:w1", "mirror.example:443/ns/eks-anywhere/tinkerbell/tink/tink-worker:w1"}
	if diff := cmp.Diff(want, images[1].EmbedNames); diff != "" {
		t.Error(diff)
	}
}

func TestImagesErrors(t *testing.T) {
	tests := map[string]struct {
		m     maker
		o     Options
		words []string
	}{
		"no uri":           {maker{actions: []string{`cexec ""`}, edit: func(_, e string) string { return strings.Replace(e, `uri: "\"\""`, "name: x", 1) }}, Options{NoWorker: true}, []string{"actions.cexec", "no uri"}},
		"bad reference":    {maker{actions: []string{"cexec UPPER/Case"}}, Options{NoWorker: true}, []string{"actions.cexec", "UPPER/Case", "host/repository:tag"}},
		"bad digest":       {maker{actions: []string{"cexec r.example/cexec:1 sha256:abc"}}, Options{NoWorker: true}, []string{"actions.cexec", "sha256:abc"}},
		"other digest":     {maker{actions: []string{"cexec r.example/cexec:1 sha512:" + strings.Repeat("a", 128)}}, Options{NoWorker: true}, []string{"actions.cexec", "sha512"}},
		"two digests":      {maker{actions: []string{"cexec r.example/cexec:1@sha256:" + strings.Repeat("b", 64) + " " + digestA}}, Options{NoWorker: true}, []string{"actions.cexec", "imageDigest"}},
		"same name":        {maker{actions: []string{"a r.example/x/cexec:1", "b r.example/y/cexec:1"}}, Options{NoWorker: true}, []string{"actions.a", "actions.b", "127.0.0.1/embedded/cexec"}},
		"unknown kube":     {maker{kubes: []string{"1.30", "1.31"}}, Options{KubeVersion: "1.29"}, []string{`"1.29"`, "1.30, 1.31"}},
		"bad worker":       {maker{}, Options{WorkerImage: "Not A Ref"}, []string{"--worker-image", "Not A Ref"}},
		"no actions":       {maker{edit: func(_, e string) string { return e[:strings.Index(e, "actions:")] + "boots: {}\n" }}, Options{}, []string{"no action images", "bundle 7"}},
		"no bare metal":    {maker{edit: func(k, _ string) string { return "  - kubeVersion: \"" + k + "\"\n" }}, Options{}, []string{"not for bare metal"}},
		"worker of agents": {maker{}, Options{}, []string{"it names no worker", "--worker-image"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tt.m.parse(t).Images(tt.o)
			wantError(t, err, tt.words...)
		})
	}
}

func TestEntriesThatDiffer(t *testing.T) {
	differ := func(key, from, to string) maker {
		return maker{kubes: []string{"1.30", "1.31"}, worker: "r.example/tink-worker:1", edit: func(kube, e string) string {
			if kube == "1.31" {
				return strings.Replace(e, from, to, 1)
			}
			return e
		}}
	}
	for key, m := range map[string]maker{
		"actions.imageToDisk": differ("", "image2disk:t1", "image2disk:t2"),
		"tink.tinkWorker":     differ("", "tink-worker:1", "tink-worker:2"),
		"actions.other":       differ("", "        actions:\n", "        actions:\n          other: {uri: r.example/other}\n"),
	} {
		t.Run(key, func(t *testing.T) {
			b := m.parse(t)
			_, err := b.Images(Options{})
			wantError(t, err, key, "1.30", "1.31", "--kube-version")
			for _, kube := range []string{"1.30", "v1.31"} {
				if _, err := b.Images(Options{KubeVersion: kube}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	same := differ("", "arch: [amd64, arm64]", "description: another text")
	if _, err := same.parse(t).Images(Options{}); err != nil {
		t.Errorf("entries that differ only in their descriptions: %v", err)
	}
}

// TestSameDigestTwice checks that two images with equal digests remain two images.
func TestSameDigestTwice(t *testing.T) {
	images, err := maker{actions: []string{"a r.example/a:1 " + digestA, "b r.example/b:1 " + digestA}}.parse(t).Images(Options{NoWorker: true})
	if err != nil || len(images) != 2 {
		t.Errorf("%v, %v; want both images", images, err)
	}
}
