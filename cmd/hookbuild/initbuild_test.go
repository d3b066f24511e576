package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"hookbuild/linuxkit/containers"
	"hookbuild/site"
	labsite "hookbuild/test/lab/site"
)

// TestInitBuilds builds with no arguments from the file that init writes, of which
// only the addresses of servers are changed, and verifies the result.
func TestInitBuilds(t *testing.T) {
	p := newPlant(t)
	checkout := os.DirFS(mustAbs(t, "../../testdata/hook"))
	t.Chdir(t.TempDir())
	if err := os.CopyFS("hook", checkout); err != nil {
		t.Fatal(err)
	}
	labsite.WriteFile(t, "hook/kernel/Dockerfile", "FROM x\n") // so that the kernel has upstream's name
	sum := sha256.Sum256([]byte(readFile(t, "hook/kernel/configs/generic-5.10.y-x86_64") + "FROM x\n"))
	p.pushKernel("5.10.213-"+hex.EncodeToString(sum[:])[:8], "5.10.213")
	list, err := containers.List(t.Context(), os.DirFS("hook"), p.site.Base(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		labsite.Push(t, c.Reference, map[string]string{"init": "#!/bin/sh\n", "bin/sh": c.Name})
	}
	labsite.WriteFile(t, "cluster.yaml", "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: {eksaVersion: v0.24.2}\n---\n"+
		"kind: TinkerbellMachineConfig\nmetadata: {name: cp}\nspec: {osFamily: ubuntu}\n")

	t.Setenv("PATH", "") // no eksctl
	p.run(0, "init", "--hook-dir", "hook")
	addKey(t, "kernel", "repository: "+p.kernels())
	got := p.run(0, "all")
	says(t, got.stdout, "out/hook/vmlinuz-x86_64", "out/hook/initramfs-x86_64")
	if strings.Contains(got.stderr, "bundle") {
		t.Errorf("without a cluster, a bundle was looked for:\n%s", got.stderr)
	}

	p.run(0, "init", "--force", "--hook-dir", "hook", "--cluster", "cluster.yaml")
	addKey(t, "kernel", "repository: "+p.kernels())
	addKey(t, "embed", "releases-url: "+p.service.ReleasesURL())
	got = p.run(0, "all")
	says(t, got.stdout, "out/hook/vmlinuz-x86_64", "out/hook/initramfs-x86_64")
	says(t, got.stderr, "using hookbuild.yaml", "bundle 110 (EKS Anywhere v0.24.2)")
	says(t, p.run(0, "verify").stdout, "Linux 5.10.213", "on board", "worker    tink-worker")
}

// addKey adds a line to a section of hookbuild.yaml.
func addKey(t *testing.T, section, line string) {
	t.Helper()
	labsite.WriteFile(t, site.Name, strings.Replace(readFile(t, site.Name), "\n"+section+":\n", "\n"+section+":\n  "+line+"\n", 1))
}
