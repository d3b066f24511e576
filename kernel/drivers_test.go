//go:build e2e

// Building modules needs the builder image, which takes minutes to make, so these
// tests are for go test -tags e2e.

package kernel

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// notes keeps what is reported.
type notes struct {
	t    *testing.T
	said []string
}

func (n *notes) Report(e progress.Event) {
	if e.Kind != progress.Advanced && e.Kind != progress.Output {
		n.t.Log(e.Task, e.Text)
		n.said = append(n.said, e.Task+e.Text)
	}
}

func (n *notes) has(text string) bool {
	return slices.ContainsFunc(n.said, func(line string) bool { return strings.Contains(line, text) })
}

// cloudWithHeaders is the reference of Debian's cloud kernel with its headers,
// and its release.
func cloudWithHeaders(t *testing.T) (ref, release string) {
	t.Helper()
	image := kerneltest.CloudKernel(t, "amd64")
	release, _, _ = strings.Cut(strings.TrimPrefix(filepath.Base(image), "linux-image-"), "_")
	flavorless := strings.TrimSuffix(release, "-cloud-amd64")
	return "deb:" + strings.Join([]string{
		image,
		kerneltest.Deb(t, "linux-headers-"+release, "", "amd64"),
		kerneltest.Deb(t, "linux-headers-"+flavorless+"-common", "", "amd64"),
		kerneltest.Deb(t, "linux-kbuild-6.1", "", "amd64"),
	}, ","), release
}

// dummySource is a plain Kbuild directory whose module is called like one of the
// kernel's.
func dummySource(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ours")
	kerneltest.WriteFile(t, filepath.Join(dir, "Kbuild"), []byte("obj-m := dummy.o\nccflags-y := -DGREETING='\"$(GREETING)\"'\n"))
	kerneltest.WriteFile(t, filepath.Join(dir, "firmware/vendor/x-1.2.bin"), []byte("firmware"))
	kerneltest.WriteFile(t, filepath.Join(dir, "dummy.c"), []byte(`#include <linux/module.h>
static int __init start(void) { pr_info("hello from " GREETING "\n"); return 0; }
static void __exit stop(void) {}
module_init(start);
module_exit(stop);
MODULE_LICENSE("Proprietary");
MODULE_VERSION("7");
MODULE_FIRMWARE("vendor/x.bin");
`))
	return dir
}

// TestDriversForPublishedKernel builds two of Debian's -dkms packages and a
// directory against a distribution's kernel with its headers, and boots a machine
// that loads them.
func TestDriversForPublishedKernel(t *testing.T) {
	testneed.Docker(t)
	testneed.Tool(t, lab.Emulator("amd64"))
	ref, release := cloudWithHeaders(t)
	said := &notes{t: t}
	o := OpenOptions{Options: options(t), Arch: "x86_64"}
	o.Progress, o.Plan.Strip = said, true
	o.Container = container.Options{Base: kerneltest.Base(t), Network: "host", LogDir: t.TempDir(), Progress: said}
	o.Drivers = []driver.Spec{
		{Source: kerneltest.Deb(t, "vpoll-dkms", "", "amd64")},
		{Source: kerneltest.Deb(t, "rapiddisk-dkms", "", "amd64"), Name: "rapiddisk"},
		{Source: dummySource(t), Make: []string{"GREETING=out of tree"}},
	}
	m, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	judgeIndexes(t, m, release)
	for _, name := range []string{"updates/vpoll/vpoll.ko", "updates/rapiddisk/rapiddisk.ko", "updates/rapiddisk/rapiddisk-cache.ko", "updates/ours/dummy.ko"} {
		if _, ok := m.Modules.Lookup(m.modulesDir() + "/" + name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
	for _, text := range []string{
		"dummy.ko of ours (", "takes the place of the kernel's own kernel/drivers/net/dummy.ko",
		`has the license "Proprietary"; it taints the kernel as proprietary`, "the module dummy 7 of ours",
		`the module vpoll 0.01 of vpoll (`, `has the license "GPL"; it taints the kernel as built outside its source (O)`,
	} {
		if !said.has(text) {
			t.Errorf("it is not said: %s", text)
		}
	}
	if got := kerneltest.Content(t, m.Modules, "lib/firmware/updates/vendor/x.bin"); string(got) != "firmware" {
		t.Errorf("the firmware is %q", got)
	}
	console := bootWith(t, m, nil, `/bin/busybox modprobe vpoll && /bin/busybox ls -l /dev/vpoll
/bin/busybox modprobe rapiddisk-cache && echo "rd_create 1 16" && /bin/busybox grep rapiddisk_cache /proc/modules
/bin/busybox modprobe dummy
/bin/busybox grep dummy /proc/modules
echo "TAINTED $(/bin/busybox cat /proc/sys/kernel/tainted)"`)
	for _, want := range []string{"/dev/vpoll", "rapiddisk_cache ", "hello from out of tree", "dummy 16384 0 - Live 0x", "(PO"} {
		if !strings.Contains(console, want) {
			t.Errorf("the machine does not say %q:\n%s", want, console)
		}
	}
	again := &notes{t: t}
	o.Progress, o.Container.Progress = again, again
	same, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if again.has("build the module") || same.Digest != m.Digest {
		t.Errorf("the modules are built again, or the digest changes from %s to %s", m.Digest, same.Digest)
	}
}

// TestBadDrivers: the errors tell what is wrong with a source.
func TestBadDrivers(t *testing.T) {
	testneed.Docker(t)
	ref, _ := cloudWithHeaders(t)
	o := OpenOptions{Options: options(t), Arch: "x86_64"}
	o.Container = container.Options{Base: kerneltest.Base(t), Network: "host", LogDir: t.TempDir()}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"for another kernel": {map[string]string{
			"Makefile": "obj-m := old.o\n", "old.c": "#include <linux/module.h>\n#include <linux/no_such_header.h>\nMODULE_LICENSE(\"GPL\");\n",
		}, []string{"build the module", "old.c:2:10: fatal error: linux/no_such_header.h: No such file or directory"}},
		"unknown symbol": {map[string]string{
			"Makefile": "obj-m := old.o\n", "old.c": "#include <linux/module.h>\nextern void gone(void);\nstatic int __init start(void) { gone(); return 0; }\nmodule_init(start);\nMODULE_LICENSE(\"GPL\");\n",
		}, []string{`ERROR: modpost: "gone"`, "undefined!"}},
		"excluded": {map[string]string{
			"dkms.conf": "PACKAGE_NAME=old\nPACKAGE_VERSION=1\nBUILD_EXCLUSIVE_KERNEL_MAX=5.4\n",
		}, []string{"its dkms.conf says that it is not for Linux 6.1", "BUILD_EXCLUSIVE_KERNEL_MAX=5.4"}},
		"writes outside": {map[string]string{
			"Makefile": "all:\n\techo evil > /usr/src/evil\n",
		}, []string{"Permission denied", "may write only below their own directory"}},
		"writes into the headers": {map[string]string{
			"Makefile": "all:\n\techo evil > /lib/modules/$(shell uname -r)/build/Makefile\n",
		}, []string{"Permission denied"}},
		"no module": {map[string]string{
			"Makefile": "all:\n\ttrue\n",
		}, []string{"the build made no module"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "old")
			for file, text := range c.files {
				kerneltest.WriteFile(t, filepath.Join(dir, file), []byte(text))
			}
			o.Drivers = []driver.Spec{{Source: dir}}
			m, err := Open(t.Context(), ref, o)
			if err == nil {
				t.Fatal(m.Close(), "no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
	o.Drivers = []driver.Spec{{Source: dummySource(t)}}
	_, err := Open(t.Context(), "deb:"+kerneltest.CloudKernel(t, "amd64"), o)
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "the kernel comes without its headers") || !strings.Contains(err.Error(), "--kernel build") {
		t.Errorf("without headers: %v", err)
	}
}
