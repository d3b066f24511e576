package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/test/lab/site"
	"hookbuild/test/release"
	"hookbuild/test/testneed"
)

// TestClusterProxy sends what is fetched through the cluster's proxy, and nothing to
// a host that noProxy names.
func TestClusterProxy(t *testing.T) {
	r := newReleases(t)
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		mu.Lock()
		asked = append(asked, request.URL.String())
		mu.Unlock()
		if request.URL.Host != "assets.invalid" {
			http.Error(w, "unknown host", http.StatusBadGateway)
			return
		}
		http.ServeFile(w, request, r.service.File(request.URL.Path))
	}))
	defer proxy.Close()
	address := strings.TrimPrefix(proxy.URL, "http://")
	file := filepath.Join(r.dir, "cluster.yaml")
	site.WriteFile(t, file, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec:\n  eksaVersion: v0.24.2\n"+
		"  proxyConfiguration: {httpProxy: \""+address+"\", httpsProxy: \""+address+"\", noProxy: [direct.invalid]}\n")
	list := "http://assets.invalid/releases/eks-a/manifest.yaml"
	got := r.run(0, "images", "--cluster", file, "--releases-url", list)
	says(t, got.stdout, "image2disk")
	says(t, got.stderr, "proxy http://"+address)
	if len(asked) != 1 || asked[0] != list {
		t.Errorf("the proxy was asked for %q", asked)
	}
	asked = nil
	r.run(4, "images", "--cluster", file, "--releases-url", "http://direct.invalid/manifest.yaml")
	if len(asked) != 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// TestLatestAndDevelopmentReleases names releases by a word and by a list of
// development builds.
func TestLatestAndDevelopmentReleases(t *testing.T) {
	r := newReleases(t)
	got := r.run(0, "images", "--eksa-version", "latest", "--releases-url", r.service.ReleasesURL())
	says(t, got.stderr, "bundle 124 (EKS Anywhere v0.26.1)")
	dev := filepath.Join(r.dir, "eks-a-release.yaml")
	text := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nspec:\n  latestVersion: v0.27.0-dev+build.9\n  releases:\n"
	for build, of := range map[string]string{"9": "v0.24.2", "10": "v0.25.3"} {
		text += "  - {version: v0.27.0-dev+build." + build + ", number: 1, bundleManifestUrl: \"" + r.service.BundleURL(r.find(of)) + "\"}\n"
	}
	site.WriteFile(t, dev, text)
	got = r.run(0, "images", "--eksa-version", "v0.27.0-dev+latest", "--releases-url", dev)
	says(t, got.stderr, "bundle 123")
	got = r.run(0, "images", "--eksa-version", "latest", "--releases-url", dev)
	says(t, got.stderr, "bundle 110")
	got = r.run(2, "images", "--eksa-version", "newest")
	says(t, got.stderr, "is not a release such as v0.24.1, and not latest")
}

// TestWhatTheRecipeSwallows has a case for each failure that the documentation's shell
// recipe does not notice.
func TestWhatTheRecipeSwallows(t *testing.T) {
	r := newReleases(t)
	answer := func(part string, status int, body string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				if !strings.Contains(request.URL.Path, part) {
					h.ServeHTTP(w, request)
					return
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			})
		}
	}
	var broken sync.Map // by path
	first := func(request *http.Request) int64 {
		if _, before := broken.LoadOrStore(request.URL.Path, true); before {
			return -1
		}
		return 100
	}
	bundle := readFile(t, r.service.File("/releases/bundles/110/manifest.yaml"))
	for name, test := range map[string]struct {
		wrap    func(http.Handler) http.Handler
		version string
		code    int
		says    []string
	}{
		"an error page for the list":    {answer("/eks-a/", http.StatusForbidden, "<Error>AccessDenied</Error>"), "v0.24.2", 4, []string{"reading the list of releases", "403"}},
		"a login page for the list":     {answer("/eks-a/", http.StatusOK, "<html>log in</html>"), "v0.24.2", 3, []string{"it is a web page"}},
		"a release that is not there":   {nil, "v0.24.9", 3, []string{`no version "v0.24.9"`, "v0.24.2"}},
		"an error page for the bundle":  {answer("/bundles/", http.StatusNotFound, "not found"), "v0.24.2", 4, []string{"reading bundle manifest", "404"}},
		"a truncated bundle":            {answer("/110/manifest", http.StatusOK, strings.TrimSuffix(bundle, "status: {}\n")), "v0.24.2", 3, []string{"bundles/110", "status"}},
		"a list in place of the bundle": {answer("/110/manifest", http.StatusOK, readFile(t, r.service.File("/releases/eks-a/manifest.yaml"))), "v0.24.2", 3, []string{"Release"}},
		"an image that is not there":    {answer("/110/manifest", http.StatusOK, strings.Replace(bundle, "tinkerbell/actions/kexec", "tinkerbell/actions/lost", 2)), "v0.24.2", 4, []string{"tinkerbell/actions/lost", "404"}},
		"a bundle without the worker":   {answer("/110/manifest", http.StatusOK, strings.ReplaceAll(bundle, "tinkWorker:", "lost:")), "v0.24.2", 3, []string{"names no tink-worker", "--worker-image"}},
		"a digest of another image":     {answer("/110/manifest", http.StatusOK, strings.ReplaceAll(bundle, r.service.Images.Digest("cexec"), "sha256:"+strings.Repeat("0", 64))), "v0.24.2", 4, []string{"sha256:0000", "404"}},
		"a HookOS that is a login page": {answer("/artifacts/", http.StatusOK, "<html>log in</html>"), "v0.26.1", 0, []string{"the response is a web page", "trying ghcr.io/tinkerbell/tink-agent instead"}},
		"a HookOS without a worker":     {answer("/artifacts/", http.StatusOK, readFile(t, r.in)), "v0.26.1", 0, []string{"it has no embedded images", "trying ghcr.io"}},
		"a connection that breaks once": {release.Broken(first), "v0.24.2", 0, nil},
		"a slow server":                 {release.Slow(256), "v0.24.2", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := r
			r.t, r.cache = t, t.TempDir()
			r.service.Wrap(test.wrap)
			defer r.service.Wrap(nil)
			got := r.embed(test.code, test.version)
			says(t, got.stderr, test.says...)
			if test.code != 0 && got.stdout != "" {
				t.Errorf("standard output has %q", got.stdout)
			}
		})
	}
}

// TestEveryCommandVerifiesTheSignature: whatever reads a bundle says whether its
// signature is valid or absent, and refuses a wrong one.
func TestEveryCommandVerifiesTheSignature(t *testing.T) {
	p := newSmallProof(t)
	const signed, unsigned = "../../testdata/bundles/signed.yaml", "../../testdata/bundles/actions.yaml"
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	site.WriteFile(t, wrong, strings.Replace(readFile(t, signed), "number: ", "number: 1", 1))
	kernel := filepath.Join(p.out, "hook") // so that no registry is asked for one, which may fail before an image does
	flavor := []string{"hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--embed-from-bundle", "--kernel", "dir:" + kernel}
	for _, command := range [][]string{
		{"images"},
		{"embed", "--initramfs", filepath.Join(p.out, "hook/initramfs-x86_64"), "-o", filepath.Join(t.TempDir(), "out"), "--from-bundle"},
		append([]string{"all", "--out", t.TempDir()}, flavor...),
		append([]string{"plan"}, flavor...),
		append([]string{"lock", "--lock-file", filepath.Join(t.TempDir(), "hookbuild.lock")}, flavor...),
	} {
		with := func(more ...string) []string {
			return append(append([]string{}, command...), append(more, "--no-worker")...)
		}
		// Of the small sample no command finds an image, so each ends after its verdict.
		says(t, p.run(3, with("--bundle", signed)...).stderr, "is valid: it covers bundle number", "it does not cover action images")
		says(t, p.run(3, with("--bundle", wrong)...).stderr, "it is not AWS's signature of this text")
		says(t, p.run(3, with("--bundle", unsigned, "--require-signature")...).stderr, "has no signature", "leave out --require-signature")
	}
}

// TestAbsentSignatures: a bundle of a release whose bundles AWS signs has lost its
// signature; older bundles have none.
func TestAbsentSignatures(t *testing.T) {
	r := newReleases(t)
	for version, words := range map[string]string{
		"v0.21.9": "only its source vouches for it", "v0.22.0": "warning", "v0.24.2-dev+build.1": "although AWS signs",
	} {
		file := filepath.Join(t.TempDir(), "bundle.yaml")
		site.WriteFile(t, file, strings.ReplaceAll(readFile(t, "../../testdata/bundles/actions.yaml"), "v0.24.0", version))
		says(t, r.run(0, "images", "--bundle", file, "--no-worker").stderr, "has no signature", words)
	}
}

// TestEitherVersionOrCluster: the release is that of the specification, and an option
// that contradicts it is an error.
func TestEitherVersionOrCluster(t *testing.T) {
	r := newReleases(t)
	file := filepath.Join(r.dir, "cluster.yaml")
	head := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: "
	site.WriteFile(t, file, head+"{eksaVersion: v0.24.2}\n")
	images := func(code int, more ...string) string {
		return r.run(code, append([]string{"images", "--cluster", file, "--releases-url", r.service.ReleasesURL()}, more...)...).stderr
	}
	says(t, images(0, "--eksa-version", "0.24.2"), file+": EKS Anywhere v0.24.2", "bundle 110")
	says(t, images(2, "--eksa-version", "v0.25.3"), "--eksa-version v0.25.3: "+file+" of --cluster says EKS Anywhere v0.24.2 (spec.eksaVersion)")
	bundle := r.service.File("/releases/bundles/110/manifest.yaml")
	says(t, images(0, "--bundle", bundle), "bundle 110")
	site.WriteFile(t, file, head+"{eksaVersion: v0.25.3}\n")
	says(t, images(2, "--bundle", bundle), "--bundle "+bundle+" is the manifest of EKS Anywhere v0.24.2, and "+file+" says v0.25.3 (spec.eksaVersion)", "leave --bundle out")
	site.WriteFile(t, file, head+"{}\n")
	says(t, images(0, "--eksa-version", "v0.25.3"), "bundle 123")
	says(t, images(0, "--bundle", bundle), "bundle 110")
}

// TestVerifyCluster compares the artifacts with the cluster that they are for.
func TestVerifyCluster(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	out := t.TempDir()
	p.run(0, "embed", "--base", p.out, "--out", out, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL(), "--eksa-version", "v0.24.2")
	file := filepath.Join(r.dir, "cluster.yaml")
	write := func(version string) {
		site.WriteFile(t, file, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: {eksaVersion: "+version+"}\n---\n"+
			"kind: TinkerbellTemplateConfig\nspec: {template: {tasks: [{name: x, actions: [{name: disk, image: 127.0.0.1/embedded/image2disk}]}]}}\n")
	}
	write("v0.24.2")
	got := p.run(0, "verify", "--cluster", file, out)
	says(t, got.stdout, "bundle 110 of EKS Anywhere v0.24.2; it is not signed, as the manifest in the cache shows", "on board")
	write("v0.26.1")
	got = p.run(3, "verify", "--cluster", file, out)
	says(t, got.stdout, "are those of EKS Anywhere v0.24.2, and "+file+" is for v0.26.1; build it again with --cluster "+file+", without --bundle or with the manifest of v0.26.1", "the worker on board is tink-worker")
	site.WriteFile(t, file, strings.Replace(readFile(t, file), "v0.26.1", "v0.24.2", 1)+
		"---\nkind: TinkerbellTemplateConfig\nspec: {template: {tasks: [{name: y, actions: [{name: lost, image: 127.0.0.1/embedded/lost}, {name: own, image: registry.example/own}]}]}}\n")
	got = p.run(3, "verify", "--cluster", file, out)
	says(t, got.stdout, "if it is one of EKS Anywhere's own actions, build with `hookbuild all --cluster "+file+"`; otherwise embed it under that name (--image SRC=127.0.0.1/embedded/lost)",
		"(embedded: see above); embed it under that name (--image SRC=registry.example/own)")
	says(t, got.stderr, "2 problems with what "+file+" needs; standard output lists each")
	bare := t.TempDir()
	p.run(0, "embed", "--base", p.out, "--out", bare, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL(), "--eksa-version", "v0.24.2", "--no-worker")
	says(t, p.run(0, "verify", bare).stdout, "none on board", "machines need a registry to pull one from")
	m, err := artifact.ReadManifest(filepath.Join(out, "hook", artifact.ManifestFile))
	if err != nil || m.Builds[0].Bundle.Signature != "absent" {
		t.Errorf("%+v, %v", m.Builds[0].Bundle, err)
	}
	got = p.run(3, "verify", "--cluster", filepath.Join(r.dir, "none.yaml"), out)
	says(t, got.stderr, "none.yaml")
}

// TestMissingActionImage warns of an action's image that is nowhere, unless --image adds
// it, and counts the warning in the summary.
func TestMissingActionImage(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	file := filepath.Join(r.dir, "cluster.yaml")
	site.WriteFile(t, file, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: {eksaVersion: v0.24.2}\n---\n"+
		"kind: TinkerbellTemplateConfig\nspec: {template: {tasks: [{name: x, actions: [{name: other, image: 127.0.0.1/embedded/othertool}]}]}}\n")
	embed := func(more ...string) string {
		return p.run(0, append([]string{"embed", "--base", p.out, "--out", t.TempDir(), "--layout", "directory", "--cluster", file, "--releases-url", r.service.ReleasesURL()}, more...)...).stderr
	}
	const missing = ":6: 127.0.0.1/embedded/othertool is not in the bundle, and cannot be pulled by that name; add it with --image SRC=127.0.0.1/embedded/othertool"
	says(t, embed(), "warning: "+file+missing+"\n", "warning 2 of 2: "+file+missing+"\n")
	for _, more := range [][]string{{"--image", p.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/othertool"}, {"--keep-embedded"}} {
		if said := embed(more...); strings.Contains(said, "warning: "+file) {
			t.Errorf("with %v: %s", more, said)
		}
	}
}

// TestServeCluster checks the servers that a cluster specification names.
func TestServeCluster(t *testing.T) {
	p := newSmallProof(t)
	dir := filepath.Join(p.out, "hook")
	site.WriteFile(t, filepath.Join(dir, "hook.iso"), "an image of a CD")
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	write := func(images, iso string) {
		text := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: {}\n---\nkind: TinkerbellDatacenterConfig\nspec: {tinkerbellIP: 192.0.2.1"
		if images != "" {
			text += ", hookImagesURLPath: \"" + images + "\""
		}
		if iso != "" {
			text += ", hookIsoURL: \"" + iso + "\""
		}
		site.WriteFile(t, file, text+"}\n")
	}
	write(server.URL, server.URL+"/hook.iso")
	says(t, p.run(0, "serve", "--check", file).stderr, "initramfs-x86_64: length, range", "hook.iso: length and range")
	write(server.URL+"/", server.URL+"/hook.img")
	says(t, p.run(3, "serve", "--check", file).stderr, "ends in a slash", "does not end in .iso", "404")
	write("", "")
	says(t, p.run(3, "serve", "--check", file).stderr, "has neither hookImagesURLPath nor hookIsoURL")
	site.WriteFile(t, file, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: mgmt}\nspec: {}\n")
	says(t, p.run(3, "serve", "--check", file).stderr, "it has no TinkerbellDatacenterConfig", "add that object")
	write(server.URL, server.URL+"/other.iso")
	says(t, p.run(3, "serve", dir, "--listen", "127.0.0.1:0", "--cluster", file).stderr, "BMCs request "+server.URL+"/other.iso")
}

// TestNoNetworkIsSaidAtOnce: where no route leads to a name server, nothing is asked
// again.
func TestNoNetworkIsSaidAtOnce(t *testing.T) {
	testneed.Namespaces(t)
	l := &locker{proof: proof{t: t}}
	said, err := l.inNamespace("images", "--eksa-version", "v0.24.2", "--cache-dir", t.TempDir(), "--progress", "plain", "--debug")
	if err == nil || strings.Contains(said, "again in") || !strings.Contains(said, "check the network") {
		t.Errorf("%v\n%s", err, said)
	}
}
