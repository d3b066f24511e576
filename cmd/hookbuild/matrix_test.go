package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// TestMatrixSkipsPublished publishes the kernel of one configuration and checks
// that its job is left out until the configuration changes.
func TestMatrixSkipsPublished(t *testing.T) {
	p := newPlace(t)
	for _, arch := range []string{"x86_64", "aarch64"} {
		site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/configs/generic-6.6.y-"+arch), "CONFIG_X=y\n# "+arch+"\n")
	}
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	sum := sha256.Sum256([]byte("CONFIG_X=y\n# x86_64\nFROM x\n"))
	base := p.site.Host + "/hook-kernel"
	site.Push(t, base+":6.6.7-"+hex.EncodeToString(sum[:])[:8], map[string]string{
		"kernel":     string(kerneltest.BzImage(t, "6.6.7", "CONFIG_X=y\n")),
		"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.7/modules.builtin": ""})),
	})
	const both = "hook-latest-lts-amd64 hook-latest-lts-arm64"
	args := []string{"matrix", "--hook-dir", p.site.Dir, "--tags", "lts", "--format", "json", "KERNEL_POINT_RELEASE=7", "HOOK_KERNEL_OCI_BASE=" + base}
	args = slices.Clip(args)
	skip := slices.Clip(append(args, "--skip-published"))
	kernels := func(args ...string) string {
		t.Helper()
		var m struct {
			Kernels []struct{ Kernel string }
			Hooks   []struct {
				Kernel string
				Image  string `json:"kernel_image"`
			}
		}
		if err := json.Unmarshal([]byte(p.run(0, args...).stdout), &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Hooks) != 2 {
			t.Errorf("%v: %d HookOS", args, len(m.Hooks))
		}
		for _, h := range m.Hooks {
			job := slices.ContainsFunc(m.Kernels, func(k struct{ Kernel string }) bool { return k.Kernel == h.Kernel })
			if job == strings.HasPrefix(h.Image, base+":6.6.7-") {
				t.Errorf("%v: %s takes its kernel from %q, and a job for it is %v", args, h.Kernel, h.Image, job)
			}
		}
		var ids []string
		for _, k := range m.Kernels {
			ids = append(ids, k.Kernel)
		}
		return strings.Join(ids, " ")
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"all":                 {args, both},
		"published":           {skip, "hook-latest-lts-arm64"},
		"another release":     {append(skip, "--kernel-version", "8"), both},
		"another option":      {append(skip, "--set", "CONFIG_Y=y"), both},
		"registry that fails": {append(skip, "HOOK_KERNEL_OCI_BASE=127.0.0.1:1/hook-kernel"), both},
	} {
		if got := kernels(tt.args...); got != tt.want {
			t.Errorf("%s: kernels %q, want %q", name, got, tt.want)
		}
	}
	if got := p.run(0, skip...); !strings.Contains(got.stderr, "the registry has "+base+":6.6.7-") {
		t.Errorf("the image is not named: %s", got.stderr)
	}
	file := filepath.Join(t.TempDir(), "hookbuild.yaml")
	site.WriteFile(t, file, "kernel:\n  options: [CONFIG_Y=y]\n")
	if got := kernels(append(skip, "--config", file)...); got != both {
		t.Errorf("with an option in hookbuild.yaml, the kernels are %q", got)
	}
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/configs/generic-6.6.y-x86_64"), "CONFIG_X=m\n")
	if got := kernels(skip...); got != both {
		t.Errorf("with another configuration, the kernels are %q", got)
	}
}

// A kernel that hookbuild.yaml takes from somewhere else has no job, and its HookOS no
// kernel of a job.
func TestMatrixOfTheSitesKernel(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "hookbuild.yaml")
	for from, jobs := range map[string]int{"latest": 0, "image:r.example/kernel:1": 0, "build": 2} {
		site.WriteFile(t, file, "kernel: {from: \""+from+"\"}\n")
		var m struct{ Kernels, Hooks []struct{ Kernel string } }
		got := p.run(0, "matrix", "--config", file, "--hook-dir", p.site.Dir, "--tags", "lts", "--format", "json")
		if err := json.Unmarshal([]byte(got.stdout), &m); err != nil || len(m.Kernels) != jobs || len(m.Hooks) != 2 {
			t.Errorf("%s: %v %s", from, err, got.stdout)
		}
		if said := strings.Contains(got.stderr, ", "+from+"; leaving out their jobs"); said != (jobs == 0) {
			t.Errorf("%s: %s", from, got.stderr)
		}
		pipeline := p.run(0, "matrix", "--config", file, "--hook-dir", p.site.Dir, "--tags", "lts", "--format", "gitlab").stdout
		if strings.Contains(pipeline, "--kernel") != (jobs > 0) {
			t.Errorf("%s: the pipeline is\n%s", from, pipeline)
		}
	}
}

// TestMatrixOfOneArchitecture has a kernel for one architecture in hookbuild.yaml, whose
// other jobs could not succeed.
func TestMatrixOfOneArchitecture(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "hookbuild.yaml")
	site.WriteFile(t, filepath.Join(dir, "k.deb"), string(kerneltest.MakeDeb(t, "Package: linux-image-6.6\nVersion: 1\nArchitecture: amd64\n", nil)))
	site.WriteFile(t, filepath.Join(dir, "arm", "Image"), string(kerneltest.Arm64Image("6.6.1")))
	site.WriteFile(t, filepath.Join(dir, "bad.deb"), "x")
	matrix := func(code int, yaml, tags string) (ids, containers string, stderr string) {
		t.Helper()
		site.WriteFile(t, file, yaml)
		got := p.run(code, "matrix", "--config", file, "--hook-dir", p.site.Dir, "--tags", tags, "--format", "json")
		if code != 0 {
			return "", "", got.stderr
		}
		var m struct {
			Hooks      []struct{ Kernel string }
			Containers []struct {
				Arch string `json:"docker_arch"`
			}
		}
		if err := json.Unmarshal([]byte(got.stdout), &m); err != nil {
			t.Fatal(err)
		}
		for _, h := range m.Hooks {
			ids += " " + h.Kernel
		}
		for _, h := range m.Containers {
			containers += " " + h.Arch
		}
		return ids, containers, got.stderr
	}
	const amd, arm = " hook-latest-lts-amd64", " hook-latest-lts-arm64"
	for _, test := range []struct{ from, ids, containers, says string }{
		{"deb:k.deb", amd, " amd64", "is for x86_64; leaving out hook-latest-lts-arm64"},
		{"deb:https://h.example/linux-image-6.6_1_arm64.deb", arm, " arm64", "is for aarch64; leaving out hook-latest-lts-amd64"},
		{"deb:https://h.example/kernel.deb", amd + arm, " amd64 arm64", ""},
		{"dir:arm", arm, " arm64", "is for aarch64; leaving out hook-latest-lts-amd64"},
		{"deb:none.deb", amd + arm, " amd64 arm64", "none.deb is not on this machine"},
		{"image:r.example/kernel:1", amd + arm, " amd64 arm64", ""},
	} {
		ids, containers, stderr := matrix(0, "kernel: {from: \""+test.from+"\"}\n", "lts")
		if ids != test.ids || containers != test.containers || !strings.Contains(stderr, test.says) || test.says == "" && strings.Contains(stderr, "leaving out hook") {
			t.Errorf("%s: HookOS%s, containers%s\n%s", test.from, ids, containers, stderr)
		}
	}
	_, _, stderr := matrix(3, "flavors: [hook-latest-lts-arm64]\nkernel: {from: \"deb:k.deb\"}\n", "lts")
	says(t, stderr, "is for x86_64, but flavors in the same file lists hook-latest-lts-arm64")
	_, _, stderr = matrix(3, "kernel: {from: \"deb:bad.deb\"}\n", "lts")
	says(t, stderr, "reading kernel.from in ", "bad.deb")
	_, _, stderr = matrix(3, "kernel: {from: \"deb:k.deb\"}\n", "armbian-sbc")
	says(t, stderr, "is for x86_64, and no flavor with these tags is")
}

// TestMatrixNotesWhatChoosesTheJobs has flavors in hookbuild.yaml, which choose no
// jobs, and tags in the environment that no flavor has.
func TestMatrixNotesWhatChoosesTheJobs(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "hookbuild.yaml")
	const byTag, unknown = "the jobs are chosen by tag, not by flavors in ", "no flavor has it"
	for flavors, noted := range map[string]bool{"hook-latest-lts-amd64": true, "hook-latest-lts-arm64, hook-latest-lts-amd64": false} {
		site.WriteFile(t, file, "flavors: ["+flavors+"]\n")
		got := p.run(0, "matrix", "--config", file, "--hook-dir", p.site.Dir, "--tags", "lts")
		if strings.Contains(got.stderr, byTag) != noted || strings.Contains(got.stderr, unknown) {
			t.Errorf("%s: %s", flavors, got.stderr)
		}
	}
	got := p.run(0, "matrix", "--hook-dir", p.site.Dir, "CI_TAGS=nope")
	if !strings.Contains(got.stderr, `choosing flavors by the tag "nope": `+unknown) || !strings.Contains(got.stdout, "=[]\n") || strings.Contains(got.stderr, byTag) {
		t.Errorf("%s%s", got.stdout, got.stderr)
	}
	if got := p.run(0, "matrix", "--hook-dir", p.site.Dir, "CI_TAGS=lts"); strings.Contains(got.stderr, unknown) {
		t.Error(got.stderr)
	}
}

func TestMatrixUsage(t *testing.T) {
	p := newPlace(t)
	for say, args := range map[string][]string{
		"did you mean standard?":        {"--tags", "lts,standart"},
		"use github, gitlab or json":    {"--format", "yaml"},
		"--offline forbids":             {"--skip-published", "--offline"},
		"add --skip-published":          {"--set", "CONFIG_X=y"},
		"GitLab refuses a pipeline":     {"--format", "gitlab", "CI_TAGS=unknown"},
		"set it under kernel in":        {"--format", "gitlab", "--skip-published", "--set", "CONFIG_X=y"},
		"choose flavors with --tags":    {"lts"},
		"(did you mean armbian-uefi?)":  {"--tags", "armbian-efi"},
		"the tags are armbian-sbc, arm": {"--tags", "x"},
	} {
		if got := p.run(2, append([]string{"matrix"}, args...)...); !strings.Contains(got.stderr, say) || got.stdout != "" {
			t.Errorf("%q: %s%s", args, got.stdout, got.stderr)
		}
	}
}
