package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
	"hookbuild/test/release"
)

// releases runs commands against a release service.
type releases struct {
	embedding
	service *release.Service
	dir, in string
}

func newReleases(t *testing.T) releases {
	t.Helper()
	s, err := release.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := releases{embedding{t, site.New(t, nil), t.TempDir()}, s, t.TempDir(), ""}
	r.in = filepath.Join(r.dir, "initramfs-x86_64")
	baseInitramfs(t, r.in, initramfs.Gzip)
	return r
}

func (r releases) find(version string) release.Release {
	r.t.Helper()
	found, err := release.Find(version)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// embed embeds a release's images into an initramfs.
func (r releases) embed(want int, version string, more ...string) outcome {
	r.t.Helper()
	return r.run(want, append([]string{
		"embed", "--initramfs", r.in, "-o", filepath.Join(r.dir, "out"), "--from-bundle",
		"--releases-url", r.service.ReleasesURL(), "--eksa-version", version,
		"--mirror", "ghcr.io=" + r.service.Images.Addr() + "/ghcr",
	}, more...)...)
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q:\n%s", w, text)
		}
	}
}

// The worker of v0.25 and later comes out of the HookOS of the release, which is
// fetched once.
func TestWorkerOfTheRelease(t *testing.T) {
	r := newReleases(t)
	hook := r.service.HookURL(r.find("v0.26.1"), "initramfs-x86_64")
	got := r.embed(0, "v0.26.1")
	says(t, got.stderr, "the worker is from the HookOS of bundle 124 (EKS Anywhere v0.26.1); it is tink-agent: its program /tink-agent calls GetAction")
	want(t, r.list(filepath.Join(r.dir, "out")), "127.0.0.1/embedded/cexec:latest", "127.0.0.1/embedded/image2disk:latest", "127.0.0.1/embedded/kexec:latest",
		"127.0.0.1/embedded/oci2disk:latest", "127.0.0.1/embedded/reboot:latest", "127.0.0.1/embedded/tink-worker:latest", "127.0.0.1/embedded/writefile:latest")
	r.embed(0, "v0.26.1")
	path := strings.TrimPrefix(hook, r.service.URL(""))
	if n := r.service.Requests(path); n != 1 {
		t.Errorf("%s was fetched %d times", path, n)
	}
	// Of another architecture it is another file.
	r.embed(0, "v0.26.1", "--arch", "arm64")
	if n := r.service.Requests(strings.Replace(path, "x86_64", "aarch64", 1)); n != 1 {
		t.Errorf("that of arm64 was fetched %d times", n)
	}
}

// Without the HookOS the worker is upstream's, of the commit of boots.
func TestWorkerOfUpstream(t *testing.T) {
	r := newReleases(t)
	r.service.Wrap(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if strings.Contains(request.URL.Path, "/artifacts/") {
				http.Error(w, "AccessDenied", http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, request)
		})
	})
	got := r.embed(0, "v0.25.3")
	says(t, got.stderr, "403", "trying ghcr.io/tinkerbell/tink-agent instead",
		"the worker is from upstream's ghcr.io/tinkerbell/tink-agent:"+release.AgentTag, "it is tink-agent: its program /tink-agent calls GetAction")

	// Neither is there.
	r.cache = t.TempDir()
	got = r.embed(4, "v0.25.3", "--mirror", "ghcr.io/tinkerbell=127.0.0.1:1/none")
	says(t, got.stderr, "initramfs-x86_64", "403", "127.0.0.1:1", "give --worker-image REF, --worker-from FILE|URL or --no-worker")
	r.embed(0, "v0.25.3", "--mirror", "ghcr.io/tinkerbell=127.0.0.1:1/none", "--no-worker")
}

// An interrupted download of the HookOS goes on where it was.
func TestWorkerDownloadResumes(t *testing.T) {
	r := newReleases(t)
	path := strings.TrimPrefix(r.service.HookURL(r.find("v0.26.1"), "initramfs-x86_64"), r.service.URL(""))
	padded := append([]byte(readFile(t, r.service.File(path))), make([]byte, 48<<20)...) // zeros may follow an archive; more than sockets buffer
	if err := os.WriteFile(r.service.File(path), padded, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var ranges []string
	r.service.Wrap(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if request.URL.Path != path || request.Method != http.MethodGet {
				h.ServeHTTP(w, request)
				return
			}
			ranges = append(ranges, request.Header.Get("Range"))
			if len(ranges) > 1 {
				h.ServeHTTP(w, request)
				return
			}
			defer cancel() // the process ends when the connection does
			release.Broken(func(*http.Request) int64 { return 40 << 20 })(h).ServeHTTP(w, request)
		})
	})
	args := []string{"embed", "--initramfs", r.in, "-o", filepath.Join(r.dir, "out"), "--from-bundle", "--releases-url", r.service.ReleasesURL(),
		"--eksa-version", "v0.26.1", "--cache-dir", r.cache, "--progress", "plain"}
	if got := runAt(ctx, r.site, args...); got.code != exitInterrupted {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	r.embed(0, "v0.26.1")
	if len(ranges) != 2 || !strings.HasPrefix(ranges[1], "bytes=") || ranges[1] == "bytes=0-" {
		t.Errorf("the ranges asked for are %q", ranges)
	}
}

// A worker that the release's server does not talk to is refused by what is in
// it.
func TestWorkerOfAnotherProtocol(t *testing.T) {
	r := newReleases(t)
	old := r.service.HookURL(r.find("v0.24.2"), "initramfs-x86_64")
	got := r.embed(3, "v0.25.3", "--worker-from", old)
	says(t, got.stderr, "embedding the worker from the HookOS "+old, "it is tink-worker: its program /usr/bin/tink-worker calls GetWorkflowContexts, module version v0.12.2",
		"bundle 123 (EKS Anywhere v0.25.3) talks to tink-agent alone", "would connect and never get work")
	image := r.service.Images.Addr() + "/made/tink-worker:1"
	got = r.embed(3, "v0.25.3", "--worker-image", image)
	says(t, got.stderr, "embedding the worker from --worker-image", "calls GetWorkflowContexts")
	r.embed(0, "v0.25.3", "--worker-image", r.service.Images.Addr()+"/made/tink-agent:1")
	got = r.embed(0, "v0.24.2")
	says(t, got.stderr, "the worker is from bundle 110 (EKS Anywhere v0.24.2); it is tink-worker")
	got = r.embed(3, "v0.24.2", "--worker-image", r.service.Images.Addr()+"/made/tink-agent:1")
	says(t, got.stderr, "it is tink-agent: its program /tink-agent calls GetAction", "bundle 110 (EKS Anywhere v0.24.2) talks to tink-worker alone", "the one that the bundle names")
}

// The checksums that a bundle has for its HookOS are compared.
func TestWorkerChecksums(t *testing.T) {
	r := newReleases(t)
	hook := r.service.HookURL(r.find("v0.26.1"), "initramfs-x86_64")
	bundle := r.service.File(strings.TrimPrefix(r.service.BundleURL(r.find("v0.26.1")), r.service.URL("")))
	text := readFile(t, bundle)
	content := readFile(t, r.service.File(strings.TrimPrefix(hook, r.service.URL(""))))
	for name, sums := range map[string][2]string{
		"sha256": {fmt.Sprintf("%x", sha256.Sum256([]byte(content))), strings.Repeat("0", 64)},
		"sha512": {fmt.Sprintf("%x", sha512.Sum512([]byte(content))), strings.Repeat("0", 128)},
	} {
		for i, code := range []int{0, 3} {
			site.WriteFile(t, bundle, strings.Replace(text, "uri: "+hook+"\n", "uri: "+hook+"\n              "+name+": \""+sums[i]+"\"\n", 1))
			got := r.embed(code, "v0.26.1")
			if code == 3 {
				says(t, got.stderr, name, sums[0], sums[1])
			}
		}
	}
}

// A whole result says in its manifest where the worker is from.
func TestWorkerInTheManifest(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	out := t.TempDir()
	args := []string{"embed", "--base", p.out, "--out", out, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL()}
	got := p.run(0, append(args, "--eksa-version", "v0.26.1")...)
	says(t, got.stderr, "the worker is from the HookOS", "worker: tink-agent, from the HookOS of bundle 124 (EKS Anywhere v0.26.1)")
	m, err := artifact.ReadManifest(filepath.Join(out, "hook", artifact.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	hook := r.service.HookURL(r.find("v0.26.1"), "initramfs-x86_64")
	w := m.Builds[0].Worker
	if w == nil || w.Source != hook || !strings.HasPrefix(w.Digest, "sha256:") || w.Program != "tink-agent" || !strings.HasPrefix(w.From, "the HookOS of bundle 124") {
		t.Errorf("the worker is %+v", w)
	}
	for _, e := range m.Builds[0].Embedded {
		if strings.Contains(e.Source, "docker-archive") {
			t.Errorf("the manifest names %s", e.Source)
		}
	}
}

// verify finds a worker that the release's server does not talk to, and tells
// which one is on board.
func TestVerifyKnowsTheWorker(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	out := t.TempDir()
	p.run(0, "embed", "--base", p.out, "--out", out, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL(), "--eksa-version", "v0.24.2")
	says(t, p.run(0, "verify", out).stdout, "its program /usr/bin/tink-worker calls GetWorkflowContexts")
	p.out = out
	got := p.run(3, "verify", p.spoiled(t, recorded(func(b *artifact.Build) { b.Bundle.Release = "v0.26.1" })))
	says(t, got.stdout, "problem: initramfs-x86_64: the worker on board is tink-worker: its program /usr/bin/tink-worker calls GetWorkflowContexts",
		"the server of EKS Anywhere v0.26.1 (manifest.json) talks to tink-agent alone")
	out = t.TempDir()
	p.out = newSmallProof(t).out
	p.run(0, "embed", "--base", p.out, "--out", out, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL(), "--eksa-version", "v0.26.1")
	p.out = out
	got = p.run(3, "verify", p.spoiled(t, recorded(func(b *artifact.Build) { b.Bundle.Release = "v0.24.2" })))
	says(t, got.stdout, "the worker on board is tink-agent", "the server of EKS Anywhere v0.24.2 (manifest.json) talks to tink-worker alone")
}

// verify verifies the bundle's signature where it has the manifest, and says where it
// only repeats what the build recorded.
func TestVerifyVerifiesTheSignature(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	out := t.TempDir()
	p.run(0, "embed", "--base", p.out, "--out", out, "--from-bundle", "--layout", "directory", "--releases-url", r.service.ReleasesURL(), "--eksa-version", "v0.24.2")
	says(t, p.run(0, "verify", out).stdout, "it is not signed, as the manifest in the cache shows")
	manifest := r.service.BundleURL(r.find("v0.24.2"))
	p.out, p.cache = out, t.TempDir()
	says(t, p.run(0, "verify", out).stdout, "it is not signed, as the build recorded; the manifest is not here to look again; images")
	says(t, p.run(0, "verify", out, "--bundle", manifest).stdout, "it is not signed, as the manifest in "+manifest+" shows")
	spoiled := p.spoiled(t, recorded(func(b *artifact.Build) { b.Bundle.Signature = "valid" }))
	says(t, p.run(0, "verify", spoiled).stdout, "its signature is valid (as the build recorded")
	says(t, p.run(3, "verify", spoiled, "--bundle", manifest).stdout, "it records that the signature of bundle 110 of EKS Anywhere v0.24.2 is valid, and it is absent")
	says(t, p.run(3, "verify", out, "--bundle", r.service.BundleURL(r.find("v0.26.1"))).stderr, "none of the artifacts was built from it")
}
