package linuxkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"hookbuild/internal/initramfs"

	"github.com/google/go-cmp/cmp"
)

func TestAssembleResult(t *testing.T) {
	res := mustAssemble(t, nil)
	if got := content(t, *res.Kernel); got != "KERNEL" || res.Kernel.Path != "kernel" {
		t.Errorf("kernel %q at %q", got, res.Kernel.Path)
	}
	if res.Cmdline != "console=ttyS0 x=$1" {
		t.Errorf("cmdline %q", res.Cmdline)
	}
	if res.Microcode != nil {
		t.Error("microcode that nobody asked for")
	}
	wantBoot := "boot 755 0:0\nboot/cmdline=\"console=ttyS0 x=$1\" 644 0:0\nboot/junk=\"j\" 644 0:0\nboot/kernel=\"KERNEL\" 644 0:0\n"
	if got := listing(t, res.Boot); got != wantBoot {
		t.Errorf("boot:\n%s\nwant:\n%s", got, wantBoot)
	}
	for _, name := range []string{"boot/kernel", "boot/junk", "etc/hostname", "dev/console"} {
		if _, ok := res.Tree.Lookup(name); ok {
			t.Errorf("%q is in the root file system", name)
		}
	}
	if e, _ := res.Tree.Lookup("lib/apk/db/installed"); content(t, e) != "a\n\nb\n\n" {
		t.Errorf("package database %q", content(t, e))
	}
}

func TestAssembleParts(t *testing.T) {
	res := mustAssemble(t, nil)
	var got []string
	for _, p := range res.Parts {
		got = append(got, fmt.Sprintf("%s %s line %d: %d files", p.Where, p.Name, p.Line, p.Files))
	}
	want := []string{
		"init[0] docker.io/linuxkit/init:1 line 6: 2 files",
		"init[1] docker.io/linuxkit/runc:1 line 7: 5 files", // runc, boot/junk, hosts, mtab and resolv.conf
		"init package database line 0: 1 files",
		"kernel docker.io/library/kern:1 line 3: 2 files",
		"onboot[0] docker.io/linuxkit/sysctl:1 line 9: 6 files",
		"services[0] docker.io/linuxkit/sysctl:1 line 12: 2 files",
		"files[0] etc/motd line 16: 1 files",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}

// The result is the same for any number of jobs: the tree does not depend on
// the order in which images arrive.
func TestAssembleIsDeterministic(t *testing.T) {
	one := mustAssemble(t, func(_ *Document, o *Options) { o.Jobs = 1 })
	for range 5 {
		many := mustAssemble(t, func(_ *Document, o *Options) { o.Jobs = 8 })
		if diff := cmp.Diff(listing(t, one.Tree), listing(t, many.Tree)); diff != "" {
			t.Fatalf("trees differ (-1 job +8 jobs):\n%s", diff)
		}
		if diff := cmp.Diff(one.Parts, many.Parts); diff != "" {
			t.Fatalf("parts differ:\n%s", diff)
		}
	}
}

func TestAssembleLoadsAnImageOnce(t *testing.T) {
	counted := &counting{images: smallImages(t), loads: map[string]int{}}
	mustAssemble(t, func(_ *Document, o *Options) { o.Images = counted })
	for ref, n := range counted.loads {
		if n != 1 {
			t.Errorf("%q was loaded %d times", ref, n)
		}
	}
	if len(counted.loads) != 4 {
		t.Errorf("%d images were loaded, want 4", len(counted.loads))
	}
}

type counting struct {
	images
	mu    sync.Mutex
	loads map[string]int
}

func (c *counting) Image(ctx context.Context, ref string) (*Image, error) {
	c.mu.Lock()
	c.loads[ref]++
	c.mu.Unlock()
	return c.images.Image(ctx, ref)
}

func TestAssembleReplace(t *testing.T) {
	store := tree(t, "etc/embedded-images/image=x", "etc/hostname=kept")
	res := mustAssemble(t, func(_ *Document, o *Options) {
		o.Replace = map[string]*initramfs.Tree{"linuxkit/runc:1": store}
	})
	for name, want := range map[string]bool{"etc/embedded-images/image": true, "etc/hostname": true, "usr/bin/runc": false} {
		if _, ok := res.Tree.Lookup(name); ok != want {
			t.Errorf("%q is there: %v, want %v", name, ok, want)
		}
	}
	dropped := mustAssemble(t, func(_ *Document, o *Options) {
		o.Replace = map[string]*initramfs.Tree{"docker.io/linuxkit/runc:1": nil, "not/there": nil}
	})
	if _, ok := dropped.Tree.Lookup("usr/bin/runc"); ok {
		t.Error("a dropped image is there")
	}
	_, err := assembleSmall(t, func(_ *Document, o *Options) {
		o.Replace = map[string]*initramfs.Tree{"not/there": store}
	})
	if err == nil || !strings.Contains(err.Error(), "docker.io/not/there") {
		t.Errorf("replacing an image that is not there: %v", err)
	}
}

func TestAssembleExtraGoesLast(t *testing.T) {
	res := mustAssemble(t, func(_ *Document, o *Options) {
		o.Extra = []Extra{{Name: "own", Tree: tree(t, "etc/motd=extra")}}
	})
	if e, _ := res.Tree.Lookup("etc/motd"); content(t, e) != "extra" {
		t.Errorf("etc/motd is %q", content(t, e))
	}
}

func TestAssembleGivenKernel(t *testing.T) {
	counted := &counting{images: smallImages(t), loads: map[string]int{}}
	res := mustAssemble(t, func(_ *Document, o *Options) {
		o.Images = counted
		o.Kernel = &Kernel{Kernel: initramfs.BytesFile("vmlinuz", []byte("GIVEN"), initramfs.Epoch()), Modules: tree(t, "lib/modules/1/a.ko=a"), Origin: "deb"}
	})
	if counted.loads["docker.io/library/kern:1"] != 0 {
		t.Error("the document's kernel image was loaded all the same")
	}
	if got := content(t, *res.Kernel); got != "GIVEN" {
		t.Errorf("kernel %q", got)
	}
	if _, ok := res.Tree.Lookup("lib/modules/1/a.ko"); !ok {
		t.Error("the modules are missing")
	}
}

// A base with a merged /usr: the modules go through its symlink, the files of
// the base stay, and where both have a file, the base's is kept.
func TestAssembleModulesThroughSymlink(t *testing.T) {
	res := mustAssemble(t, func(_ *Document, o *Options) {
		o.Images.(images)["docker.io/linuxkit/init:1"] = image(t, "usr/lib/modules/1/b.ko=base", "lib->usr/lib", "usr/lib/os=x")
		o.Kernel = &Kernel{Modules: tree(t, "lib/modules/1/a.ko=kernel", "lib/modules/1/b.ko=kernel", "lib/modules/1/c.ko=>lib/modules/1/b.ko", "lib/modules/1/d.ko=>lib/modules/1/a.ko")}
	})
	want := map[string]string{"a.ko": "kernel", "b.ko": "base", "c.ko": "kernel", "d.ko": "kernel"}
	for name, text := range want {
		e, _ := res.Tree.Lookup("usr/lib/modules/1/" + name)
		if e.Type == initramfs.HardLink {
			e, _ = res.Tree.Lookup(e.Target)
		}
		if got := content(t, e); got != text {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
	if e, _ := res.Tree.Lookup("lib"); e.Type != initramfs.Symlink {
		t.Errorf("lib is a %s", e.Type)
	}
}

func TestAssembleConflictNamesBothImages(t *testing.T) {
	_, err := assembleSmall(t, func(_ *Document, o *Options) {
		o.Images.(images)["docker.io/linuxkit/runc:1"] = image(t, "usr/x=x", "bin->usr/bin")
	})
	var conflict *initramfs.ConflictError
	if !errors.As(err, &conflict) || conflict.Path != "bin" {
		t.Fatalf("%v; want a conflict about bin", err)
	}
	for _, part := range []string{"linuxkit/init:1", "linuxkit/runc:1", "line 6", "line 7"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestAssembleFaults(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Document, *Options)
		want   []string
	}{
		{"no source", func(_ *Document, o *Options) { o.Images = nil }, []string{"no source of images"}},
		{"missing image", func(_ *Document, o *Options) { delete(o.Images.(images), "docker.io/linuxkit/sysctl:1") }, []string{"docker.io/linuxkit/sysctl:1", "onboot[0] (line 9)"}},
		{"no kernel in the image", func(_ *Document, o *Options) {
			o.Images.(images)["docker.io/library/kern:1"] = image(t, "vmlinuz=x")
		}, []string{`no file "kernel"`, "vmlinuz", "kernel.binary"}},
		{"no modules in the image", func(_ *Document, o *Options) {
			o.Images.(images)["docker.io/library/kern:1"] = image(t, "kernel=x")
		}, []string{`no file "kernel.tar"`, `"none"`}},
		{"modules that are no archive", func(_ *Document, o *Options) {
			o.Images.(images)["docker.io/library/kern:1"] = image(t, "kernel=x", "kernel.tar="+strings.Repeat("junk", 300))
		}, []string{"kernel.tar", "kern:1"}},
		{"no microcode", func(d *Document, _ *Options) { name := "ucode"; d.Kernel.UCode = &name }, []string{`no file "ucode"`}},
		{"label", func(_ *Document, o *Options) {
			o.Images.(images)["docker.io/linuxkit/sysctl:1"].Config.Labels = map[string]string{configLabel: `{"bind": []}`}
		}, []string{"sysctl", "line 9", configLabel, `unknown key "bind"`}},
		{"volume", func(d *Document, _ *Options) { d.Services[0].Binds = []string{"none:/x"} }, []string{"getty", "line 12", `"none" is neither`}},
		{"oci volume", func(d *Document, _ *Options) {
			d.Volumes = []*Volume{{Name: "v", Image: "x", Format: "oci", Line: 3}}
		}, []string{`volume "v"`, "format filesystem"}},
		{"missing source", func(d *Document, _ *Options) { d.Files = []*File{{Path: "a", Source: "not/there", Line: 5}} }, []string{`"a"`, "line 5", "not/there", "optional: true"}},
		{"directory as a source", func(d *Document, _ *Options) { d.Files = []*File{{Path: "a", Source: "testdata", Line: 5}} }, []string{"not a regular file"}},
		{"unknown owner", func(d *Document, _ *Options) {
			d.Files = []*File{{Path: "a", Directory: true, UID: &ID{Name: "nobody"}, Line: 5}}
		}, []string{`no container is named "nobody"`, "getty sysctl"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := assembleSmall(t, tt.change)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAssembleStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Assemble(ctx, mustParse(t, small), Options{Images: smallImages(t)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

// The hard links of an omitted file keep its content.
func TestFilterKeepsLinks(t *testing.T) {
	res := mustAssemble(t, func(_ *Document, o *Options) {
		o.Images.(images)["docker.io/linuxkit/init:1"] = image(t, "etc/hostname=name", "etc/other=>etc/hostname", "etc/hosts=h", "etc/hosts2=>etc/hosts")
	})
	for name, want := range map[string]string{"etc/other": "name", "etc/hosts2": "h", "etc/hosts": hostsContent} {
		if e, ok := res.Tree.Lookup(name); !ok || content(t, e) != want {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// layouts is a source that can also return a whole index.
type layouts struct {
	images
	asked []string
}

func (l *layouts) Layout(_ context.Context, ref string, platforms []string) (*initramfs.Tree, error) {
	l.asked = append(l.asked, ref+" "+strings.Join(platforms, ","))
	out := &initramfs.Tree{}
	return out, out.Add(initramfs.BytesFile("oci-layout", []byte("{}"), initramfs.Epoch()))
}

func TestAssembleLayoutVolume(t *testing.T) {
	source := &layouts{images: smallImages(t)}
	res := mustAssemble(t, func(d *Document, o *Options) {
		d.Volumes = []*Volume{{Name: "v", Image: "x:1", Format: "oci", Platforms: []string{"linux/arm64"}}}
		o.Images = source
	})
	if diff := cmp.Diff([]string{"docker.io/library/x:1 linux/arm64"}, source.asked); diff != "" {
		t.Error(diff)
	}
	if _, ok := res.Tree.Lookup("containers/volumes/v/lower/oci-layout"); !ok {
		t.Error("the layout is missing")
	}
}

// An image may be used several times, so its tree is never modified.
func TestAssembleLeavesImagesAlone(t *testing.T) {
	source := smallImages(t)
	before := listing(t, source["docker.io/linuxkit/init:1"].Tree)
	mustAssemble(t, func(_ *Document, o *Options) { o.Images = source })
	if diff := cmp.Diff(before, listing(t, source["docker.io/linuxkit/init:1"].Tree)); diff != "" {
		t.Errorf("the image changed:\n%s", diff)
	}
}

func TestAssembleMicrocode(t *testing.T) {
	name := "ucode"
	ask := func(d *Document) { d.Kernel.UCode = &name }
	own := mustAssemble(t, func(d *Document, o *Options) {
		ask(d)
		o.Images.(images)["docker.io/library/kern:1"] = image(t, "kernel=K", "kernel.tar=", "ucode=CPIO")
	})
	given := initramfs.BytesFile("x", []byte("GIVEN"), initramfs.Epoch())
	other := mustAssemble(t, func(d *Document, o *Options) {
		ask(d)
		o.Kernel = &Kernel{Microcode: &given}
	})
	for res, want := range map[*Result]string{own: "CPIO", other: "GIVEN"} {
		boot, _ := res.Boot.Lookup("boot/ucode.cpio")
		if got := content(t, *res.Microcode); got != want || content(t, boot) != want {
			t.Errorf("microcode %q, in boot/ %q; want %q", got, content(t, boot), want)
		}
	}
	_, err := assembleSmall(t, func(d *Document, o *Options) {
		ask(d)
		o.Kernel = &Kernel{Origin: "deb:x"}
	})
	if err == nil || !strings.Contains(err.Error(), "deb:x") {
		t.Errorf("a kernel without microcode: %v", err)
	}
}

func TestSizeParts(t *testing.T) {
	res := mustAssemble(t, func(_ *Document, o *Options) { o.Extra = []Extra{{Name: "store", Tree: tree(t, "s=1")}} })
	var names []string
	for _, p := range res.SizeParts() {
		names = append(names, p.Name)
	}
	want := []string{"docker.io/linuxkit/init", "docker.io/linuxkit/runc", "package database", "kernel and modules", "docker.io/linuxkit/sysctl", "docker.io/linuxkit/sysctl", "files of the template", "store"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	for ref, want := range map[string]string{"host:5000/a": "host:5000/a", "host:5000/a:1": "host:5000/a", "a@sha256:1": "a", "a:t@sha256:1": "a"} {
		if got := repository(ref); got != want {
			t.Errorf("repository(%q) = %q, want %q", ref, got, want)
		}
	}
}
