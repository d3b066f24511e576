package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/kernel/flavor"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// newBuilder returns a Builder whose cache the tests share for the kernel
// packages, which take long to unpack. Its salt is unique, so it shares no
// segment.
func newBuilder(t *testing.T, jobs int) *Builder {
	t.Helper()
	c, err := cache.Open(kerneltest.Dir(t, "build"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{Cache: c, Client: oci.NewClient(oci.Options{Cache: c, Jobs: jobs}), Jobs: jobs, Version: "test", Salt: t.Name() + t.TempDir()}
}

func requestAt(t *testing.T, s *site.Site, out string) Request {
	t.Helper()
	f, err := flavor.Upstream().Find("hook-latest-lts-amd64")
	if err != nil {
		t.Fatal(err)
	}
	w, err := OpenWorkspace(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Workspace: w, Flavor: f, Kernel: "deb:" + kerneltest.CloudKernel(t, "amd64"), ContainersBase: s.Base(), Out: out,
		Layout: embed.Directory, Segment: initramfs.SegmentOptions{Compression: initramfs.Zstd},
		Embed: &onboard.Embed{List: bundles.List{{Source: s.Host + "/actions/cexec:v1", Name: "127.0.0.1/embedded/cexec", RemoveSource: true}}},
	}
}

func TestHookOSIsReproducible(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action", "etc/x": "y"})
	var sums []string
	for _, jobs := range []int{1, 3} {
		b := newBuilder(t, jobs)
		r := requestAt(t, s, t.TempDir())
		r.Segment.Jobs = jobs
		result, err := b.HookOS(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		tarball, err := digest.OfFile(t.Context(), result.Tarball)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, tarball)
		checkInitramfs(t, filepath.Join(result.Dir, "initramfs-x86_64"))
	}
	if sums[0] != sums[1] {
		t.Errorf("one job gives %s, three give %s", sums[0], sums[1])
	}
}

// checkInitramfs checks that the initramfs has a file of each source.
func checkInitramfs(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{
		"init":                                  "#!/bin/sh\n",
		"containers/services/hello/lower/hello": "hello program",
		"etc/version":                           "0.11.1 hook-latest-lts-amd64 $HOME",
		"etc/note":                              "note\n",
	}
	repositories := false
	r := initramfs.NewReader(context.Background(), f, initramfs.Limits{})
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		repositories = repositories || strings.HasSuffix(record.Path, "image/overlay2/repositories.json")
		content, ok := want[record.Path]
		if !ok {
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != content {
			t.Errorf("%s: got %q", record.Path, got)
		}
		delete(want, record.Path)
	}
	if len(want) > 0 || !repositories {
		t.Errorf("missing %v; repositories.json there: %t", want, repositories)
	}
	if n := len(r.Segments()); n != 3 { // the root, the store, the one layer in it
		t.Errorf("%d segments", n)
	}
}

func TestHookOSNamesWhatIsWrong(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action"})
	tests := []struct {
		name   string
		change func(*Request)
		want   string
		kind   fault.Kind
	}{
		{"no such image", func(r *Request) { r.Embed.List[0].Source = s.Host + "/actions/kexec:v1" }, "actions/kexec", fault.Outside},
		{"a wrong digest", func(r *Request) {
			r.Embed.List[0].Source = s.Host + "/actions/cexec:v1@sha256:" + strings.Repeat("0", 64)
		}, "cexec", fault.Outside},
		{"no such template", func(r *Request) { r.Template = "peg" }, "peg.template.yaml", fault.Invalid},
		{"no such kernel", func(r *Request) { r.Kernel = "deb:missing.deb" }, "missing.deb", fault.Invalid},
		{"an unknown kind of kernel", func(r *Request) { r.Kernel = "zip:x" }, "deb:FILE", fault.Usage},
		{"a kernel of the other architecture", func(r *Request) {
			r.Kernel = "deb:" + kerneltest.CloudKernel(t, "arm64")
		}, "aarch64", fault.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := t.TempDir()
			r := requestAt(t, s, out)
			test.change(&r)
			_, err := newBuilder(t, 2).HookOS(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("exit code %d, want %d: %v", got, test.kind, err)
			}
			left, err := os.ReadDir(out)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestTemplateFaultsAreNamed(t *testing.T) {
	s := site.New(t, nil)
	for what, template := range map[string]string{
		"HOOK_CONTAINER_NOSUCH_IMAGE": strings.Replace(site.Template, "HOOK_CONTAINER_HELLO_IMAGE", "HOOK_CONTAINER_NOSUCH_IMAGE", 1),
		"comand":                      strings.Replace(site.Template, "command:", "comand:", 1),
		"/init":                       strings.Replace(site.Template, "HOOK_CONTAINER_INIT_IMAGE", "HOOK_CONTAINER_HELLO_IMAGE", 1),
		"note.txt":                    strings.Replace(site.Template, "source: note.txt", "source: missing/note.txt", 1),
	} {
		t.Run(what, func(t *testing.T) {
			site.WriteFile(t, filepath.Join(s.Dir, "linuxkit-templates/hook.template.yaml"), template)
			r := requestAt(t, s, t.TempDir())
			r.Embed = nil
			_, err := newBuilder(t, 2).HookOS(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), what) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v (exit code %d)", err, fault.KindOf(err))
			}
		})
	}
}
