//go:build e2e

// Building modules needs the builder image, which takes minutes to make, so this
// test is for go test -tags e2e.

package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/oci"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// vendorFiles are a driver in the form in which makers of network cards publish
// theirs: in src/ a Makefile of its own, which first generates a header from what
// the kernel's headers have, and firmware beside it.
func vendorFiles() map[string]string {
	return map[string]string{
		"README":                "A driver.\n",
		"ddp/mini-1.3.36.0.pkg": "package",
		"src/Makefile": `KVER ?= $(shell uname -r)
KSRC ?= /lib/modules/$(KVER)/build
GENERATED := kcompat_generated_defs.h
ifeq (,$(wildcard $(KSRC)/include/generated/autoconf.h))
$(error there is no kernel in $(KSRC))
endif

all: modules

$(GENERATED): kcompat-generator.sh
	KSRC=$(KSRC) OUT=$@ bash kcompat-generator.sh

modules: $(GENERATED)
	$(MAKE) -C $(KSRC) M=$(CURDIR) modules

install: modules
	cp mini.ko /lib/modules/$(KVER)/

.PHONY: all modules install
`,
		"src/Kbuild": "obj-m := mini.o\nmini-y := mini_main.o mini_hw.o\nccflags-y += $(CFLAGS_EXTRA)\n",
		"src/kcompat-generator.sh": `set -eu
headers=$KSRC/include/linux
if [ ! -e "$headers/netdevice.h" ]; then headers=/lib/modules/$(uname -r)/source/include/linux; fi
{
	if grep -q netif_napi_add_weight "$headers/netdevice.h"; then echo '#define NAPI "weighed"'; fi
	if grep -q no_kernel_has_this "$headers/netdevice.h"; then echo '#error not a kernel'; fi
} > "$OUT"
`,
		"src/mini.h":    "#include \"kcompat_generated_defs.h\"\nint mini_hw(void);\n",
		"src/mini_hw.c": "#include \"mini.h\"\nint mini_hw(void) { return 1272; }\n",
		"src/mini_main.c": `#include <linux/module.h>
#include "mini.h"
#ifndef NAPI
#define NAPI "unknown"
#endif
static int __init start(void) { pr_info("mini%d is %s, built for %d\n", mini_hw(), NAPI, HOW); return 0; }
static void __exit stop(void) {}
module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL v2");
MODULE_VERSION("1.2.3");
MODULE_FIRMWARE("intel/mini/ddp/mini.pkg");
`,
	}
}

// vendorArchive packs the driver as it is published.
func vendorArchive(t *testing.T) string {
	t.Helper()
	files := map[string]string{}
	for name, text := range vendorFiles() {
		files["mini-1.2.3/"+name] = text
	}
	archive := filepath.Join(t.TempDir(), "mini-1.2.3.tar.gz")
	kerneltest.WriteFile(t, archive, kerneltest.Gzip(t, kerneltest.Tar(t, files)))
	return archive
}

// run runs a program.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

// imageWithHeaders returns a kernel image in the form of LinuxKit's: its headers
// are in kernel-dev.tar, in one directory that needs nothing else. It is made of
// Debian's cloud kernel.
func imageWithHeaders(t *testing.T) (ref, release string) {
	t.Helper()
	debs, release := cloudWithHeaders(t)
	var from []string
	for deb := range strings.SplitSeq(strings.TrimPrefix(debs, "deb:"), ",") {
		from = append(from, kerneltest.Unpacked(t, deb))
	}
	kernel, own, common, tools := from[0], from[1], from[2], from[3]
	dir := t.TempDir()
	headers := filepath.Join(dir, "usr/src/linux-headers-"+release)
	run(t, "mkdir", "-p", filepath.Dir(headers))
	run(t, "cp", "-a", filepath.Join(common, "usr/src/linux-headers-"+strings.TrimSuffix(release, "-cloud-amd64")+"-common"), headers)
	run(t, "rm", filepath.Join(headers, "scripts"), filepath.Join(headers, "tools"))
	for _, name := range []string{"scripts", "tools"} {
		run(t, "cp", "-a", filepath.Join(tools, "usr/lib/linux-kbuild-6.1", name), headers)
	}
	for _, name := range []string{"include", "arch", ".config", "Module.symvers"} {
		run(t, "cp", "-a", filepath.Join(own, "usr/src/linux-headers-"+release, name), headers)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	run(t, "tar", "-C", dir, "-cf", in("kernel-dev.tar"), "usr")
	run(t, "tar", "-C", kernel, "-cf", in("kernel.tar"), "lib")
	run(t, "cp", filepath.Join(kernel, "boot/vmlinuz-"+release), in("kernel"))
	files := map[string][]byte{}
	for _, name := range []string{"kernel", "kernel.tar", "kernel-dev.tar"} {
		content, err := os.ReadFile(in(name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	writeImage(t, in("image.tar"), files)
	return "docker-archive:" + in("image.tar"), release
}

// writeImage writes an image for amd64 as docker save does.
func writeImage(t *testing.T, archive string, files map[string][]byte) {
	t.Helper()
	image, err := crane.Image(files)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.test/kernel:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, tag, image); err != nil {
		t.Fatal(err)
	}
}

// TestDriversForKernelImage builds a driver of a vendor's form, out of a tar
// archive, against a kernel image with headers, and boots a machine that loads it.
func TestDriversForKernelImage(t *testing.T) {
	testneed.Docker(t)
	testneed.Tool(t, lab.Emulator("amd64"))
	ref, release := imageWithHeaders(t)
	said := &notes{t: t}
	o := OpenOptions{Options: options(t), Arch: "x86_64"}
	o.Client = oci.NewClient(oci.Options{Cache: o.Cache})
	o.Progress, o.Plan.Strip = said, true
	o.Container = container.Options{Base: kerneltest.Base(t), Network: "host", LogDir: t.TempDir(), Progress: said}
	o.Drivers = []driver.Spec{{Source: vendorArchive(t), Make: []string{"CFLAGS_EXTRA=-DHOW=7"}}}
	m, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	judgeIndexes(t, m, release)
	if got := kerneltest.Content(t, m.Modules, "lib/firmware/updates/intel/mini/ddp/mini.pkg"); string(got) != "package" {
		t.Errorf("the firmware is %q", got)
	}
	if !said.has(`the module mini 1.2.3 of mini (`) || !said.has(`has the license "GPL v2"; it taints the kernel as built outside its source (O)`) {
		t.Error("the license is not told")
	}
	console := bootWith(t, m, nil, "/bin/busybox modprobe mini\n/bin/busybox grep mini /proc/modules")
	for _, want := range []string{"mini1272 is weighed, built for 7", "mini 16384 0 - Live 0x", "(O"} {
		if !strings.Contains(console, want) {
			t.Errorf("the machine does not say %q:\n%s", want, console)
		}
	}
}
