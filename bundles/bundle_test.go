package bundles

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

func TestParseRefuses(t *testing.T) {
	const head = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\n"
	tests := map[string]struct {
		text  string
		words []string
	}{
		"nothing":         {"", []string{"empty"}},
		"only comments":   {"# nothing\n---\n", []string{"empty"}},
		"web page":        {"<!DOCTYPE html><title>Login</title>", []string{"web page", "DOCTYPE", "proxy"}},
		"S3 error":        {"\ufeff\n<?xml version='1.0'?>\n<Error>", []string{"web page"}},
		"gzip":            {"\x1f\x8b\x08\x00", []string{"gzip", "bundle-release.yaml"}},
		"tar":             {strings.Repeat("\x00", 257) + "ustar\x0000", []string{"tar archive", "bundle-release.yaml"}},
		"bad YAML":        {head + "kind: [Bundles", []string{"not valid YAML", "line"}},
		"list":            {"- a\n", []string{"not an object"}},
		"text":            {"hello", []string{"not an object"}},
		"no kind":         {head, []string{"no kind"}},
		"other group":     {"apiVersion: v1\nkind: Bundles\n", []string{"apiVersion", `"v1"`}},
		"deployment":      {"apiVersion: apps/v1\nkind: Deployment\n", []string{"Deployment (apps/v1)", "not Bundles"}},
		"no versions":     {head + "kind: Bundles\nspec: {number: 3}\n", []string{"versionsBundles is empty"}},
		"two documents":   {head + "kind: Bundles\n---\nkind: Bundles\n", []string{"line 4", "second document"}},
		"a cluster":       {"apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\n", []string{"it is a cluster specification", "--cluster"}},
		"a cluster's all": {head + "kind: TinkerbellDatacenterConfig\n---\napiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\n", []string{"it is a cluster specification", "--cluster"}},
		"wrong type":      {head + "kind: Bundles\nspec:\n  number: many\n", []string{"line 4", "many"}},
		"release":         {head + "kind: Release\nspec:\n  latestVersion: v9.9.9\n  releases:\n  - version: v9.9.9\n    bundleManifestUrl: https://x.example/9\n", []string{"kind is Release", "list of releases", "v9.9.9", "https://x.example/9"}},
		"release, no url": {head + "kind: Release\n", []string{"kind is Release", "bundleManifestUrl", "bundle-release.yaml"}},
		"odd release":     {head + "kind: Release\nspec: 5\n", []string{"kind is Release", "bundleManifestUrl"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text), "m.yaml")
			wantError(t, err, append(tt.words, `"m.yaml"`)...)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d, want Invalid", fault.KindOf(err))
			}
		})
	}
}

func TestParsePublishedOfOtherKinds(t *testing.T) {
	for file, words := range map[string][]string{
		"wrong-kind.yaml":     {"VersionsBundle", "not Bundles"},
		"releases-mixed.yaml": {"kind is Release", "bundleManifestUrl"},
	} {
		data, err := os.ReadFile(sample(file))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(data, file)
		wantError(t, err, words...)
	}
	data, err := os.ReadFile(sample("signed.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseReleases(data, "b.yaml")
	wantError(t, err, "kind is Bundles", "not the list of releases")
}

// TestParseIsLenient parses what EKS Anywhere accepts: unknown keys, a byte order
// mark, an unquoted version, an empty second document.
func TestParseIsLenient(t *testing.T) {
	plain := maker{worker: "r.example/tink-worker:1"}.text()
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + plain,
		"separators":      "---\n" + plain + "---\n",
		"unquoted":        strings.ReplaceAll(plain, `"1.31"`, "1.30"),
		"comment":         "# mine\n" + plain,
		"repeated keys":   strings.Replace(plain, "kind: Bundles", "kind: Release\nkind: Bundles", 1),
		"anchors":         strings.Replace(plain, "metadata:\n", "x: &x [1]\ny: *x\nmetadata:\n", 1),
	} {
		b, err := Parse([]byte(text), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := b.Images(Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "unquoted" && b.kubeVersions()[0] != "1.30" {
			t.Errorf("Kubernetes version 1.30 became %q", b.kubeVersions()[0])
		}
	}
}

// TestBombs parses small manifests that expand to a large amount of memory.
func TestBombs(t *testing.T) {
	const head = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\n"
	laughs := head + "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 20 {
		laughs += strings.ReplaceAll("a#: &a# [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n", "#", string(rune('A'+i)))
		laughs = strings.ReplaceAll(laughs, "*b", map[bool]string{true: "*a0", false: "*a" + string(rune('A'+i-1))}[i == 0])
	}
	bombs := map[string]string{
		"billion laughs": laughs,
		"long text":      head + "t: &t " + strings.Repeat("x", 1<<20) + "\nspec:\n  versionsBundles: [" + strings.Repeat("{kubeVersion: *t},", 1000) + "]\n",
		"own anchor":     head + "spec: &s\n  number: 1\n  versionsBundles: [*s]\n",
		"deep flow":      head + "a: " + strings.Repeat("[", 200_000),
		"deep block":     head + "a:\n" + strings.Repeat("- ", 200_000),
		"many values":    head + "a: [" + strings.Repeat("1,", 2_000_000) + "1]\n",
		"many lines":     head + strings.Repeat("-\r", 2_000_000),
		"huge":           head + "a: " + strings.Repeat("x", maxManifest),
	}
	for name, text := range bombs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse([]byte(text), "bomb.yaml")
			runtime.ReadMemStats(&after)
			wantError(t, err, "bomb.yaml")
			if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20 {
				t.Errorf("it took %d MiB", used>>20)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(maker{worker: "r.example/tink-worker:1"}.text())
	f.Add("apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nspec: {latestVersion: v1.0.0, releases: [{version: v1.0.0}]}\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseReleases([]byte(text), "fuzz"); err == nil {
			_, _ = r.latest()
		}
		b, err := Parse([]byte(text), "fuzz")
		if err != nil {
			return
		}
		_, _ = b.VerifySignature()
		images, err := b.Images(Options{NoWorker: true})
		if err != nil {
			return
		}
		checkRoundTrip(t, images)
	})
}

// TestTruncatedManifest truncates a manifest at every line.
func TestTruncatedManifest(t *testing.T) {
	whole := strings.Replace(maker{release: "v0.24.1"}.text(), "metadata:\n", "metadata:\n  creationTimestamp: null\n", 1) + "status: {}\n"
	if _, err := Parse([]byte(whole), "whole"); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(whole, "\n")
	for n := range len(lines) - 2 {
		if _, err := Parse([]byte(strings.Join(lines[:n], "")), "cut"); err == nil {
			t.Errorf("the first %d of %d lines pass", n, len(lines))
		}
	}
	_, err := Parse([]byte(strings.TrimSuffix(whole, "status: {}\n")), "cut")
	wantError(t, err, "cut", "it is truncated", "again")
}

// TestMissingWorkerOfAnOlderRelease checks that the message about newer releases is
// only for them.
func TestMissingWorkerOfAnOlderRelease(t *testing.T) {
	for release, later := range map[string]bool{"v0.24.3": false, "v0.22.0": false, "v0.25.0": true, "v0.26.1": true} {
		b := maker{release: release}.parse(t)
		_, err := b.Images(Options{})
		wantError(t, err, "it names no ", "--worker-image")
		if strings.Contains(err.Error(), "v0.25.0") != later {
			t.Errorf("%s: %v", release, err)
		}
	}
}

// TestWorkerNeed tells of the worker by release, and by layout where the
// manifest names no release.
func TestWorkerNeed(t *testing.T) {
	const commit = "2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d"
	agent, err := parseSample(t, "agent.yaml").Worker("arm64", "")
	if err != nil || !agent.Agent || agent.Named || agent.Commit != commit || !strings.HasSuffix(agent.HookOS.URL, "initramfs-aarch64") || len(agent.HookOSKey) != 64 {
		t.Errorf("%+v, %v", agent, err)
	}
	old, err := parseSample(t, "actions.yaml").Worker("amd64", "")
	if err != nil || old.Agent || !old.Named || old.HookOSKey == agent.HookOSKey {
		t.Errorf("%+v, %v", old, err)
	}
	for release, want := range map[string]bool{"v0.24.9": false, "v0.25.0": true, "v0.27.0-dev+build.3": true} {
		need, err := maker{release: release}.parse(t).Worker("amd64", "")
		if err != nil || need.Agent != want {
			t.Errorf("%s: %+v, %v", release, need, err)
		}
	}
	boots := func(_, entry string) string {
		return entry + "        boots: {uri: \"r.example/tinkerbell/tinkerbell/tinkerbell:" + commit + "-eks-a-9\"}\n"
	}
	if need, err := (maker{edit: boots}).parse(t).Worker("amd64", ""); err != nil || !need.Agent || need.Commit != commit {
		t.Errorf("by boots: %+v, %v", need, err)
	}
	if need, err := (maker{worker: "r.example/tink-worker:1", edit: boots}).parse(t).Worker("amd64", ""); err != nil || need.Agent {
		t.Errorf("with a worker: %+v, %v", need, err)
	}
}
