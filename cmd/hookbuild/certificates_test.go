package main

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/bundles"
	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// privateRegistry starts a registry with a certificate that the system does not know.
// It also returns the certificate in PEM format. The server serves a file as /file.
func privateRegistry(t *testing.T, file string) (host string, certificate []byte, at *httptest.Server) {
	t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			http.ServeFile(w, r, file)
			return
		}
		images.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "https://")
	return host, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), server
}

// pushTools pushes an image for amd64.
func pushTools(t *testing.T, ref string, through http.RoundTripper) {
	t.Helper()
	layer, err := random.Layer(100, types.OCIUncompressedLayer)
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(parsed, image, remote.WithTransport(through)); err != nil {
		t.Fatal(err)
	}
}

// TestCAFile checks that a registry and a web server with a private certificate
// authority are used only with --ca-file or a certificate for Docker.
func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	in, ca := filepath.Join(dir, "in"), filepath.Join(dir, "ca.pem")
	baseInitramfs(t, in, initramfs.None)
	host, certificate, server := privateRegistry(t, in)
	pushTools(t, host+"/tools:1", server.Client().Transport)
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	s := site.New(t, nil)
	args := []string{"embed", "--initramfs", "https://" + host + "/file", "-o", filepath.Join(dir, "out"), "--image", host + "/tools:1=127.0.0.1/embedded/tools"}
	e := embedding{t, s, t.TempDir()}
	if got := e.run(4, args...); !strings.Contains(got.stderr, "certificate") {
		t.Errorf("without --ca-file: %s", got.stderr)
	}
	e.run(0, append(args, "--ca-file", ca)...)
	want(t, e.list(filepath.Join(dir, "out")), "127.0.0.1/embedded/tools:latest")
	site.WriteFile(t, filepath.Join(dir, ".docker/certs.d", host, "ca.crt"), string(certificate))
	env := map[string]string{"HOME": dir}
	releases{embedding: e}.withEnv(0, env, append(args, "--cache-dir", t.TempDir())...)

	got := e.run(3, append(args, "--ca-file", filepath.Join(dir, "none.pem"))...)
	if !strings.Contains(got.stderr, "none.pem") || !strings.Contains(got.stderr, "give a file with certificates in PEM form") {
		t.Error(got.stderr)
	}
	if got := e.run(3, append(args, "--ca-file", in)...); !strings.Contains(got.stderr, "it has no certificate") {
		t.Error(got.stderr)
	}
}

// unpinnedBundle writes a bundle without digests and returns its images.
func unpinnedBundle(t *testing.T, path string) (sources []string) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^ *imageDigest: .*\n`).ReplaceAllString(readFile(t, "../../testdata/bundles/actions.yaml"), "")
	b, err := bundles.Parse([]byte(text), path)
	if err != nil {
		t.Fatal(err)
	}
	images, err := b.Images(bundles.Options{SourceNames: bundles.Drop})
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		sources = append(sources, image.Source)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return sources
}

// TestCluster embeds the images of a cluster specification through a mirror that has
// a private certificate authority and requires a login.
func TestCluster(t *testing.T) {
	host, certificate, server := privateRegistry(t, "")
	dir := t.TempDir()
	manifest := filepath.Join(dir, "bundle.yaml")
	for _, source := range unpinnedBundle(t, manifest) {
		pushTools(t, host+"/copies"+strings.TrimPrefix(source, "registry.example"), server.Client().Transport)
	}
	pushTools(t, host+"/copies/raid:2", server.Client().Transport)
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hush" {
			w.Header().Set("WWW-Authenticate", "Basic realm=mirror")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	in, out, file := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "cluster.yaml")
	baseInitramfs(t, in, initramfs.None)
	address, port, _ := strings.Cut(host, ":")
	indented := "      " + strings.ReplaceAll(strings.TrimSpace(string(certificate)), "\n", "\n      ")
	write := func(registry string) {
		text := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: plant}\nspec:\n" +
			"  registryMirrorConfiguration:\n    endpoint: " + address + "\n    port: \"" + port + "\"\n    authenticate: true\n" + registry +
			"    ociNamespaces: [{registry: registry.example, namespace: copies}]\n" +
			"---\nkind: TinkerbellTemplateConfig\nspec: {template: {tasks: [{actions: [{image: registry.example/raid:2}]}]}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{}
	embed := func() outcome {
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{
			"embed", "--cache-dir", t.TempDir(), "--progress", "plain", "--initramfs", in, "-o", out, "--cluster", file,
			"--bundle", manifest,
		}, environment{getenv: func(k string) string { return env[k] }, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
		return outcome{code, stdout.String(), stderr.String()}
	}
	write("    caCertContent: |\n" + indented + "\n")
	if got := embed(); got.code != 2 || !strings.Contains(got.stderr, "set REGISTRY_USERNAME and REGISTRY_PASSWORD") {
		t.Errorf("without a login: %d, %s", got.code, got.stderr)
	}
	env["REGISTRY_USERNAME"], env["REGISTRY_PASSWORD"] = "me", "hush"
	for name, registry := range map[string]string{
		"caCertContent": "    caCertContent: |\n" + indented + "\n", "insecureSkipVerify": "    insecureSkipVerify: true\n", "EKSA_REGISTRY_MIRROR_CA": "",
	} {
		write(registry)
		if registry == "" {
			env["EKSA_REGISTRY_MIRROR_CA"] = filepath.Join(dir, "ca.pem")
			if err := os.WriteFile(env["EKSA_REGISTRY_MIRROR_CA"], certificate, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := embed()
		delete(env, "EKSA_REGISTRY_MIRROR_CA")
		if got.code != 0 || strings.Contains(got.stderr, "hush") || !strings.Contains(got.stderr, "registry mirror: registry.example from "+host+"/copies") {
			t.Fatalf("%s: %d, %s", name, got.code, got.stderr)
		}
		names := strings.Join(embedding{t, site.New(t, nil), t.TempDir()}.list(out), " ")
		if !strings.Contains(names, "registry.example/raid:2") || !strings.Contains(names, "127.0.0.1/embedded/image2disk:latest") {
			t.Errorf("%s: the embedded images are %s", name, names)
		}
	}
}
