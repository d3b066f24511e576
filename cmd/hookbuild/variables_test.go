package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/cmd/hookbuild/face"
	"hookbuild/kernel"
	"hookbuild/site/lock"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// ask runs a command line with act as the command's action. The words of build.sh are
// arguments or, with inEnv, environment variables.
func ask(t *testing.T, inEnv bool, words, args []string, act func(*app, *cli.Context) error) {
	t.Helper()
	env := map[string]string{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		env[key] = value
	}
	if !inEnv {
		args, env = append(args, words...), map[string]string{}
	}
	a := &app{environment: environment{getenv: func(k string) string { return env[k] }, stdout: io.Discard, stderr: io.Discard}}
	root := newRootCommand(a)
	line, err := arrange(root, args)
	if err != nil {
		t.Fatal(err)
	}
	a.variables, a.names = line.variables, line.names
	root.Command(args[0]).Action = func(c *cli.Context) error { return act(a, c) }
	if err := root.Run(append([]string{"hookbuild", "--progress", "plain"}, line.sorted...)); err != nil {
		t.Fatal(err)
	}
}

// TestVariablesOfABuild checks the effect of build.sh's variables on a build.
func TestVariablesOfABuild(t *testing.T) {
	s := site.New(t, nil)
	tests := []struct {
		words  []string
		flavor string
		pick   func(build.Request) any
		want   any
	}{
		{nil, "", func(r build.Request) any { return []string{r.Kernel, r.OutputID, r.Flavor.ID} }, []string{"", "x86_64", "hook-default-amd64"}},
		{[]string{"HOOK_VERSION=1.2=x"}, "", func(r build.Request) any { return r.HookVersion }, "1.2=x"},
		{[]string{"HOOK_KERNEL_OCI_BASE=h/k"}, "", func(r build.Request) any { return r.KernelOptions.Plan.Repository }, "h/k"},
		{[]string{"HOOK_LK_CONTAINERS_OCI_BASE=h/c/"}, "", func(r build.Request) any { return r.ContainersBase }, "h/c/"},
		{[]string{"KERNEL_POINT_RELEASE=7"}, "", func(r build.Request) any { return []string{r.Kernel, r.KernelOptions.Plan.PointRelease} }, []string{"", "7"}},
		{[]string{"KERNEL_POINT_RELEASE=7", "USE_LATEST_BUILT_KERNEL=yes"}, "", func(r build.Request) any { return r.Kernel }, "latest"},
		{[]string{"KERNEL_POINT_RELEASE=7", "USE_LATEST_BUILT_KERNEL=no"}, "", func(r build.Request) any { return r.Kernel }, ""},
		{[]string{"USE_KERNEL_ID=hook-latest-lts-amd64"}, "", func(r build.Request) any { return []string{r.Flavor.Series, r.KernelOptions.Plan.Flavor.Series} }, []string{"5.10", "6.6"}},
		{nil, "peg-default-amd64", func(r build.Request) any { return r.KernelOptions.Plan.Flavor.ID }, "hook-default-amd64"},
		{[]string{"USE_KERNEL_ID=hook-latest-lts-amd64"}, "", func(r build.Request) any { return r.OutputID }, "hook-default-amd64"},
		{[]string{"USE_KERNEL_ID=hook-default-amd64"}, "hook-latest-lts-amd64", func(r build.Request) any { return r.OutputID }, "latest-lts-x86_64"},
		{[]string{"FORCE_OUTPUT_ID=mine"}, "", func(r build.Request) any { return r.OutputID }, "mine-x86_64"},
		{[]string{"DOCKER_ARCH=arm64"}, "", func(r build.Request) any { return r.Flavor.ID }, "hook-default-arm64"},
		{[]string{"DO_BUILD_LK_CONTAINERS=no"}, "", func(r build.Request) any { return r.NoBuildContainers }, true},
		{[]string{"DO_BUILD_LK_CONTAINERS=yes"}, "", func(r build.Request) any { return r.NoBuildContainers }, false},
		{[]string{"LINUXKIT_ISO=anything"}, "", func(r build.Request) any { return r.ISO != nil }, true},
		{[]string{"LINUXKIT_ISO=no"}, "", func(r build.Request) any { return r.ISO != nil }, false},
		{[]string{"OUTPUT_TARBALL_FILELIST=yes"}, "", func(r build.Request) any { return r.Tar }, true},
		{[]string{"OUTPUT_TARBALL_FILELIST=no"}, "", func(r build.Request) any { return r.Tar }, false},
		{[]string{"ARMBIAN_BASE_ORAS_REF=h/a", "ARMBIAN_KERNEL_VERSION=6.12-x"}, "armbian-uefi-x86-edge", func(r build.Request) any { return r.KernelOptions.Armbian }, kernel.Armbian{Base: "h/a", Version: "6.12-x"}},
		{[]string{"SOURCE_DATE_EPOCH=86400"}, "", func(r build.Request) any { return r.SourceDate }, time.Unix(86400, 0).UTC()},
	}
	for _, test := range tests {
		for _, inEnv := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, environment %t", test.words, inEnv), func(t *testing.T) {
				args := []string{"linuxkit", "--hook-dir", s.Dir}
				if test.flavor != "" {
					args = append(args, test.flavor)
				}
				ask(t, inEnv, test.words, args, func(a *app, c *cli.Context) error {
					r, err := a.request(c)
					if diff := cmp.Diff(test.want, test.pick(r)); diff != "" {
						t.Error(diff)
					}
					return err
				})
			})
		}
	}
}

// TestDefaultFlavorIsSaid checks that a build says which flavor nobody named.
func TestDefaultFlavorIsSaid(t *testing.T) {
	s := site.New(t, nil)
	for flavor, said := range map[string]bool{"": true, "hook-default-amd64": false} {
		args := []string{"linuxkit", "--out", t.TempDir(), "--hook-dir", s.Dir, "--kernel", "dir:nosuch"}
		if flavor != "" {
			args = append(args, flavor)
		}
		got := runAt(t.Context(), s, append(args, "--progress", "plain")...)
		if strings.Contains(got.stderr, "no flavor was named; using hook-default-amd64") != said {
			t.Errorf("%q: said\n%s", flavor, got.stderr)
		}
	}
}

func TestVariablesOfContainers(t *testing.T) {
	s := site.New(t, nil)
	words := []string{"DO_PUSH=yes", "EXPORT_LK_CONTAINERS=yes", "EXPORT_LK_CONTAINERS_DIR=d", "DOCKER_ARCH=arm64", "HOOK_LK_CONTAINERS_OCI_BASE=h/", "DO_BUILD_LK_CONTAINERS=no"}
	for _, inEnv := range []bool{false, true} {
		ask(t, inEnv, words, []string{"containers", "--hook-dir", s.Dir}, func(a *app, c *cli.Context) error {
			r, err := a.containersRequest(c)
			off := a.assignment("DO_BUILD_LK_CONTAINERS")
			want := build.ContainersRequest{Workspace: build.Workspace{Dir: s.Dir}, Base: "h/", DockerArch: "arm64", NoBuild: true, WhyNoBuild: "building is switched off; leave out " + off, Push: true, ExportDir: "d"}
			if diff := cmp.Diff(want, r); diff != "" {
				t.Error(diff)
			}
			return err
		})
		ask(t, inEnv, words[1:2], []string{"containers", "--hook-dir", s.Dir}, func(a *app, c *cli.Context) error {
			r, err := a.containersRequest(c)
			if r.ExportDir != os.TempDir() || r.Push || r.NoBuild {
				t.Errorf("got %+v", r)
			}
			return err
		})
	}
}

func TestVariablesOfAKernel(t *testing.T) {
	s := site.New(t, nil)
	const ref = "h/k/hook-kernel:6.6.7-abc"
	words := []string{"HOOK_KERNEL_OCI_BASE=h/k/hook-kernel", "KERNEL_POINT_RELEASE=7", "EXPORT_KERNEL_IMAGE=yes", "EXPORT_KERNEL_IMAGE_DIR=d", "DO_PUSH=yes", "DOCKER_ARCH=arm64"}
	args := []string{"kernel", "--hook-dir", s.Dir}
	for _, inEnv := range []bool{false, true} {
		ask(t, inEnv, words, args, func(a *app, c *cli.Context) error {
			f, err := a.flavorOf(c)
			if err != nil {
				return err
			}
			r, err := a.kernelRequest(c, f)
			to := a.deliverOptions(c, kernel.OpenOptions{})
			if got, want := []any{f.ID, r.Repository, r.PointRelease, to.Path(ref), to.Push}, []any{"hook-default-arm64", "h/k/hook-kernel", "7", "d/hook-kernel-6.6.7-abc.tar.gz", true}; !cmp.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			return err
		})
		ask(t, inEnv, words[2:3], args, func(a *app, c *cli.Context) error {
			if to := a.deliverOptions(c, kernel.OpenOptions{}); to.Path(ref) != filepath.Join(os.TempDir(), "hook-kernel-6.6.7-abc.tar.gz") || to.Push {
				t.Errorf("exported to %q", to.Path(ref))
			}
			return nil
		})
		ask(t, inEnv, nil, args, func(a *app, c *cli.Context) error {
			if to := a.deliverOptions(c, kernel.OpenOptions{}); to.Path(ref) != "" || to.Push {
				t.Error("exported and pushed although nobody asks for it")
			}
			return nil
		})
	}
}

// TestPublishedKernel checks that a published kernel image is exported unchanged,
// unless FORCE_BUILD_KERNEL is set, which fails with this checkout.
func TestPublishedKernel(t *testing.T) {
	p := newPlace(t)
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/configs/generic-6.6.y-x86_64"), "CONFIG_X=y\n")
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	sum := sha256.Sum256([]byte("CONFIG_X=y\nFROM x\n"))
	base, tag, export := p.site.Host+"/hook-kernel", "6.6.7-"+hex.EncodeToString(sum[:])[:8], t.TempDir()
	args := []string{"kernel", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "KERNEL_POINT_RELEASE=7", "HOOK_KERNEL_OCI_BASE=" + base, "DO_PUSH=yes"}
	site.Push(t, base+":"+tag, map[string]string{
		"kernel":     string(kerneltest.BzImage(t, "6.6.7", "CONFIG_X=y\n")),
		"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.7/modules.builtin": ""})),
	})
	if got := p.run(0, args...); got.stdout != base+":"+tag+"\n" {
		t.Errorf("got %q\n%s", got.stdout, got.stderr)
	}
	says(t, p.run(0, append(args, "EXPORT_KERNEL_IMAGE=yes", "EXPORT_KERNEL_IMAGE_DIR="+export)...).stderr, "export "+base+":"+tag+": "+filepath.Join(export, "hook-kernel-"+tag+".tar.gz"))
	if _, err := os.Stat(filepath.Join(export, "hook-kernel-"+tag+".tar.gz")); err != nil {
		t.Error(err)
	}
	layout := filepath.Join(export, "layout")
	p.run(0, append(args, "--export", layout, "--no-load")...)
	for _, exported := range []string{"docker-archive:" + filepath.Join(export, "hook-kernel-"+tag+".tar.gz"), "oci:" + layout, "image:oci:" + layout} {
		if got := p.run(0, "inspect", exported); !strings.Contains(got.stdout, "6.6.7") {
			t.Errorf("%s is shown as\n%s", exported, got.stdout)
		}
	}
	p.run(4, append(args, "FORCE_BUILD_KERNEL=yes")...)
}

// TestKernelSaysHowToUseIt checks that kernel ends with the reference that a build can
// take: the registry's if Docker does not have the image.
func TestKernelSaysHowToUseIt(t *testing.T) {
	p := newPlace(t)
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	sum := sha256.Sum256([]byte("FROM x\n")) // the configuration is empty
	base := p.site.Host + "/hook-kernel"
	ref := base + ":6.6.7-" + hex.EncodeToString(sum[:])[:8]
	site.Push(t, ref, map[string]string{
		"kernel":     string(kerneltest.BzImage(t, "6.6.7", "CONFIG_RD_ZSTD=y\n")),
		"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.7/modules.builtin": ""})),
	})
	args := []string{"hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "HOOK_KERNEL_OCI_BASE=" + base}
	kernel := append([]string{"kernel", "KERNEL_POINT_RELEASE=7"}, args...)
	says(t, p.run(0, kernel...).stderr, "`hookbuild all` builds with this kernel if it has --kernel image:"+ref+"\n")
	p.run(0, append([]string{"linuxkit", "--kernel", "image:" + ref}, args...)...)

	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/_ping":
			w.Header().Set("Api-Version", "1.44")
		case strings.HasSuffix(r.URL.Path, "/images/"+ref+"/json"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"Id": "sha256:%064d", "Os": "linux", "Architecture": "amd64"}`, 1)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(engine.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+strings.TrimPrefix(engine.URL, "http://"))
	says(t, p.run(0, kernel...).stderr, "`hookbuild all` builds with this kernel if it has --kernel daemon:"+ref+"\n")
}

func TestVariablesOfEveryCommand(t *testing.T) {
	p := newPlace(t)
	doc := p.document()
	cache := filepath.Join(t.TempDir(), "a=b")
	got := runAt(t.Context(), p.site, "linuxkit", "--yaml", doc, "--out", p.out, "CACHE_DIR="+cache, "DEBUG=yes")
	if got.code != 0 || !strings.Contains(got.stderr, "... ") {
		t.Errorf("exit code %d, DEBUG shows\n%s", got.code, got.stderr)
	}
	if _, err := os.Stat(filepath.Join(cache, "layers")); err != nil {
		t.Error(err)
	}
}

func TestUnknownVariables(t *testing.T) {
	p := newPlace(t)
	for word, say := range map[string]string{
		"LINUXKIT_VERSION=1.8.2":              "LINUXKIT_VERSION has no effect: hookbuild assembles HookOS itself",
		"LINUXKIT_IOS=yes":                    "unknown variable; did you mean LINUXKIT_ISO?\n",
		"FORCE_OUTPUT=x=y":                    "FORCE_OUTPUT=x=y",
		"SOMETHING_ELSE_AT=ALL":               "listed in docs/reference.md",
		"FORCE_OUTPUT_ID=../../":              "cannot be part of a file's name",
		"USE_KERNEL_ID=hook":                  "USE_KERNEL_ID=hook says whose kernel to use: choosing the flavor \"hook\": there is no flavor of that name (did you mean hook-",
		"DOCKER_ARCH=arm64/x":                 "hookbuild: DOCKER_ARCH=arm64/x is neither amd64 nor arm64",
		"KERNEL_POINT_RELEASE=abc":            "hookbuild: KERNEL_POINT_RELEASE=abc: hook-default-amd64 has Linux 5.10; write it as 5.10.32 or 32",
		"hook_version=1":                      "hook_version=1 is not a variable; did you mean HOOK_VERSION=1?",
		"SOURCE_DATE_EPOCH=now":               "seconds since 1970",
		"USE_KERNEL_ID=hook-latest-lts-arm64": "is for aarch64",
		"DOCKER_HOST=tcp://u:secret@e":        "DOCKER_HOST is read from the environment only; write it before the command: `DOCKER_HOST=… hookbuild linuxkit`\n",
		"https_proxy=http://u:secret@p":       "https_proxy is read from the environment only",
		"kernel=x":                            "kernel=x: unknown variable",
		"UBOOT_VERSION=1":                     "UBOOT_VERSION is a variable of build.sh's bootable-media, which is not supported",
	} {
		if got := p.run(2, "linuxkit", "--hook-dir", p.site.Dir, word); !strings.Contains(got.stderr, say) || strings.Contains(got.stderr, "secret") {
			t.Errorf("%s: %s", word, got.stderr)
		}
	}
	if got := p.run(2, "HTTPS_PROXY=http://u:secret@p"); !strings.Contains(got.stderr, "`HTTPS_PROXY=… hookbuild build`") || strings.Contains(got.stderr, "secret") {
		t.Errorf("without a command: %s", got.stderr)
	}
	p.run(0, "matrix", "CI_RUNNER_KERNEL_AMD64=big", "CI_TAGS=lts")
	if got := p.run(2, "matrix", "CI_RUNNER_KERNAL=big"); !strings.Contains(got.stderr, "did you mean CI_RUNNER_KERNEL?") {
		t.Errorf("a misspelled runner: %s", got.stderr)
	}
}

// TestKernelOfTheCheckout checks that the kernel with the checkout's configuration is
// chosen, of the release in KERNEL_POINT_RELEASE if that is set.
func TestKernelOfTheCheckout(t *testing.T) {
	p := newPlace(t)
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/configs/generic-6.6.y-x86_64"), "CONFIG_X=y\n")
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	sum := sha256.Sum256([]byte("CONFIG_X=y\nFROM x\n"))
	own := hex.EncodeToString(sum[:])[:8]
	base := p.site.Host + "/hook-kernel"
	for _, tag := range []string{"6.6.7-" + own, "6.6.8-ffffffff", "6.6.8-" + own, "6.6.8-00000000"} {
		site.Push(t, base+":"+tag, map[string]string{
			"kernel":     string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\n# "+tag+"\n")),
			"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.1/modules.builtin": ""})),
		})
	}
	args := []string{"linuxkit", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "HOOK_KERNEL_OCI_BASE=" + base}
	if got := p.run(0, append(args, "--kernel", "latest")...); strings.Contains(got.stderr, "was not built from") {
		t.Errorf("a kernel of the checkout's configuration is warned of:\n%s", got.stderr)
	}
	for point, want := range map[string]string{"": "6.6.8-" + own, "7": "6.6.7-" + own} {
		p.run(0, append(args, "KERNEL_POINT_RELEASE="+point)...)
		if manifest := readFile(t, filepath.Join(p.out, "hook/manifest.json")); !strings.Contains(manifest, base+":"+want) {
			t.Errorf("KERNEL_POINT_RELEASE=%s: the kernel is another:\n%s", point, manifest)
		}
	}
	template := strings.Replace(site.Template, "${HOOK_VERSION} ", "kernel ${HOOK_KERNEL_VERSION} ", 1)
	site.WriteFile(t, filepath.Join(p.site.Dir, "linuxkit-templates/hook.template.yaml"), template)
	p.run(0, append(args, "--compression", "none")...)
	if !strings.Contains(readFile(t, filepath.Join(p.out, "hook/initramfs-x86_64")), "kernel 6.6.8-"+own+" ") {
		t.Error("HOOK_KERNEL_VERSION is not version and hash")
	}
	got := p.run(4, append(args, "KERNEL_POINT_RELEASE=9")...)
	if !strings.Contains(got.stderr, "hookbuild kernel hook-latest-lts-amd64 KERNEL_POINT_RELEASE=9") {
		t.Errorf("got %s", got.stderr)
	}
	site.WriteFile(t, filepath.Join(p.site.Dir, "kernel/configs/generic-6.6.y-x86_64"), "CONFIG_X=y\nCONFIG_EDITED=y\n")
	got = p.run(3, args...)
	for _, say := range []string{"from this checkout's kernel/configs/generic-6.6.y-x86_64 and kernel/Dockerfile (the tag", "--kernel build", "--kernel latest to use the newest published one anyway\n"} {
		if !strings.Contains(got.stderr, say) {
			t.Errorf("with an edited configuration the error does not say %q: %s", say, got.stderr)
		}
	}
	warned := "the kernel " + base + ":6.6.8-ffffffff was not built from the checkout's kernel/configs/generic-6.6.y-x86_64 and kernel/Dockerfile: its hash is ffffffff, theirs "
	for _, insist := range [][]string{{"--kernel", "latest"}, {"USE_LATEST_BUILT_KERNEL=yes"}} {
		got = p.run(0, append(args, insist...)...)
		if !strings.Contains(got.stderr, warned) || !strings.Contains(got.stderr, "--kernel build compiles theirs") {
			t.Errorf("%v: no %q in\n%s", insist, warned, got.stderr)
		}
		if manifest := readFile(t, filepath.Join(p.out, "hook/manifest.json")); !strings.Contains(manifest, base+":6.6.8-") {
			t.Errorf("%v: the kernel is another:\n%s", insist, manifest)
		}
	}
}

// TestCheckoutWithoutConfiguration checks that a checkout that lacks the flavor's kernel
// configuration builds with no kernel of another one, unless that is asked for.
func TestCheckoutWithoutConfiguration(t *testing.T) {
	l := newLocker(t)
	config := filepath.Join(l.site.Dir, "kernel/configs/generic-6.6.y-x86_64")
	if err := os.Rename(config, config+".old"); err != nil {
		t.Fatal(err)
	}
	args := []string{l.flavor, "--hook-dir", l.site.Dir, "--out", l.out, "HOOK_KERNEL_OCI_BASE=" + l.kernels()}
	for _, command := range []string{"plan", "build"} {
		for _, point := range []string{"", "7"} {
			got := l.run(3, append([]string{command, "KERNEL_POINT_RELEASE=" + point}, args...)...)
			says(t, got.stderr, "reading the kernel configuration of hook-latest-lts-amd64: open "+config+": no such file or directory; "+
				"restore it, or start from a copy of one in its directory: generic-6.6.y-x86_64.old; "+
				"or use --kernel latest, which takes the newest published kernel with any configuration\n")
		}
		l.run(0, append([]string{command, "--kernel", "latest"}, args...)...)
	}
}

// TestVariablesWithoutEffect checks that an argument that a command does not use is
// warned of, and that one of the environment is not.
func TestVariablesWithoutEffect(t *testing.T) {
	s := site.New(t, nil)
	for line, say := range map[string]string{
		"kernel USE_LATEST_BUILT_KERNEL=yes":       "USE_LATEST_BUILT_KERNEL=yes has no effect on `hookbuild kernel`; it has one on `hookbuild all`, `hookbuild linuxkit`, ",
		"kernel-build USE_LATEST_BUILT_KERNEL=1":   "no effect on `hookbuild kernel-build`",
		"build DO_PUSH=yes":                        "DO_PUSH=yes has no effect on `hookbuild build`; it has one on `hookbuild kernel`, `hookbuild containers`\n",
		"build EXPORT_LK_CONTAINERS=yes":           "it has one on `hookbuild containers`\n",
		"build DO_PUSH=no":                         "",
		"build MAC=52:54:00:12:34:56":              "MAC=52:54:00:12:34:56 has no effect on `hookbuild build`; it has one on `hookbuild run`, `hookbuild qemu`\n",
		"build TINK_TLS=false":                     "it has one on `hookbuild run`",
		"kernel TINK_WORKER_IMAGE=x":               "`hookbuild verify`\n",
		"build CI_RUNNER_KERNEL_AMD64=x":           "it has one on `hookbuild matrix`\n",
		"kernel DO_BUILD_LK_CONTAINERS=no":         "DO_BUILD_LK_CONTAINERS=no has no effect on `hookbuild kernel`; ",
		"kernel DO_BUILD_LK_CONTAINERS=yes":        "",
		"containers KERNEL_POINT_RELEASE=0":        "KERNEL_POINT_RELEASE=0 has no effect on `hookbuild containers`; ",
		"containers USE_KERNEL_ID=x":               "has no effect",
		"containers HOOK_KERNEL_OCI_BASE=x":        "has no effect",
		"containers HOOK_LK_CONTAINERS_OCI_BASE=x": "",
		"containers FORCE_OUTPUT_ID=x":             "has no effect",
		"kernel FORCE_OUTPUT_ID=x":                 "has no effect",
		"kernel ARMBIAN_KERNEL_VERSION=x":          "",
		"containers ARMBIAN_KERNEL_VERSION=x":      "has no effect",
		"gha-matrix DOCKER_ARCH=arm64":             "DOCKER_ARCH=arm64 has no effect on `hookbuild gha-matrix`; it has one on `hookbuild all`, ",
		"gha-matrix CI_TAGS=lts":                   "",
		"kernel DEBUG=maybe":                       "DEBUG=maybe counts as no",
		"kernel DO_PUSH=yes":                       "",
		"build LINUXKIT_ISO=yes":                   "",
		"build LINUXKIT_ISO=maybe":                 "LINUXKIT_ISO=maybe counts as yes, as every word does except no, n, 0, false and off",
		"kernel DO_PUSH=yess":                      "DO_PUSH=yess counts as no, as every word does except yes, y, 1, true and on",
	} {
		words := strings.Fields(line)
		got := runAt(t.Context(), s, words[0], "--progress", "plain", "--jobs", "0", words[1])
		if warned := strings.Contains(got.stderr, "counts as") || strings.Contains(got.stderr, "has no effect"); got.code != 2 || warned != (say != "") || !strings.Contains(got.stderr, say) {
			t.Errorf("%s: exit code %d, no %q in\n%s", line, got.code, say, got.stderr)
		}
	}
	var stderr strings.Builder
	env := environment{getenv: func(name string) string {
		return map[string]string{"DO_PUSH": "yes", "LINUXKIT_ISO": "yess", "DEBUG": "app:*", "MAC": "x"}[name]
	}, stdout: io.Discard, stderr: &stderr}
	run(t.Context(), []string{"build", "--progress", "plain", "--jobs", "0"}, env)
	if said := stderr.String(); strings.Contains(said, "no effect") || strings.Contains(said, "DEBUG") || !strings.Contains(said, "LINUXKIT_ISO=yess (in the environment) counts as yes") {
		t.Errorf("of the environment it says\n%s", said)
	}
}

// TestExportedArchitecture checks that DOCKER_ARCH gives way to a flavor on the command
// line, unless it is an argument or an option.
func TestExportedArchitecture(t *testing.T) {
	s := site.New(t, nil)
	ask(t, true, []string{"DOCKER_ARCH=arm64"}, []string{"linuxkit", "hook-latest-lts-amd64", "--hook-dir", s.Dir}, func(a *app, c *cli.Context) error {
		r, err := a.request(c)
		if r.Flavor.ID != "hook-latest-lts-amd64" {
			t.Errorf("the flavor is %q", r.Flavor.ID)
		}
		return err
	})
	locked := filepath.Join(t.TempDir(), "hookbuild.lock")
	kernel := lock.Kernel{From: lock.FromDocument}
	template := lock.Input{Name: "t", SHA256: "sha256:" + strings.Repeat("0", 64)}
	file := lock.File{}.With(lock.Build{Flavor: "hook-latest-lts-amd64", Arch: "amd64", Kernel: kernel, Template: template}).
		With(lock.Build{Flavor: "clock", Arch: "amd64", Kernel: kernel, Template: template, Options: map[string]lock.Values{"yaml": {"clock.yml"}}})
	if err := file.Write(locked); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"hook-latest-lts-amd64": 1, "clock": 0} {
		ask(t, true, []string{"DOCKER_ARCH=arm64"}, []string{"linuxkit", id, "--locked", "--lock-file", locked}, func(a *app, c *cli.Context) error {
			if builds, err := a.lockedBuilds(c); len(builds) != want {
				t.Errorf("the builds of %s are %v, %v", id, builds, err)
			}
			return nil
		})
	}
	for _, word := range []string{"DOCKER_ARCH=arm64", "--arch=arm64"} {
		got := runAt(t.Context(), s, "linuxkit", "hook-latest-lts-amd64", "--hook-dir", s.Dir, word)
		if got.code != 2 || !strings.Contains(got.stderr, ": the flavor hook-latest-lts-amd64 is for amd64") {
			t.Errorf("%s: exit code %d\n%s", word, got.code, got.stderr)
		}
	}
}

func TestSudoIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		command, by string
		uid         int
		want        bool
	}{
		{"linuxkit", "ann", 0, true}, {"linuxkit", "ann", 1000, false}, {"linuxkit", "", 0, false}, {"linuxkit", "root", 0, false}, {"netboot", "ann", 0, false},
		{"qemu", "ann", 0, true}, {"kernel-config", "ann", 0, true}, {"doctor", "ann", 0, true}, {"cache", "ann", 0, false}, {"version", "ann", 0, false},
	} {
		a := &app{environment: environment{getenv: func(string) string { return test.by }}, names: []string{test.command}}
		var shown strings.Builder
		var err error
		if a.face, err = face.New("plain", face.Options{Writer: &shown, Getenv: a.getenv}); err != nil {
			t.Fatal(err)
		}
		a.warnOfSudo(test.uid)
		if got := strings.Contains(shown.String(), "hookbuild needs no root; with sudo, the files that it writes belong to root, and ann"); got != test.want {
			t.Errorf("%+v: %q", test, shown.String())
		}
	}
}
