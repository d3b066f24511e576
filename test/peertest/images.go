package peertest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hookbuild/linuxkit"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// recipe is an image of the corpus.
type recipe struct {
	config v1.Config
	layers []layer
}

// Images returns the corpus: for each repository and tag an index with the image
// for amd64 and arm64.
func Images() (map[string]v1.ImageIndex, error) {
	recipes, err := recipes()
	if err != nil {
		return nil, err
	}
	return indexes(recipes)
}

// StandIns gives an image of the corpus for each image that the document names,
// by its repository and tag without the registry: its kernel for the kernel, its
// system for init, and one after the other those that run for containers and
// volumes. A document from anywhere can be compared so.
func StandIns(doc *linuxkit.Document) (map[string]v1.ImageIndex, error) {
	all, err := recipes()
	if err != nil {
		return nil, err
	}
	system := []recipe{all["linuxkit/init:v1"], all["linuxkit/runc:v1"], all["linuxkit/containerd:v1"], all["linuxkit/ca-certificates:v1"]}
	running := []recipe{all["linuxkit/plain:v1"], all["linuxkit/dhcpcd:v1"], all["library/redis:7"], all["linuxkit/labelled:v1"]}
	init := map[string]bool{}
	for _, ref := range doc.Init {
		init[linuxkit.ExpandReference(ref.Name)] = true
	}
	out := map[string]recipe{}
	for i, ref := range doc.References(linuxkit.Options{}) {
		_, name, _ := strings.Cut(ref, "/")
		switch {
		case ref == linuxkit.ExpandReference(doc.Kernel.Image):
			out[name] = kernelFor(doc, all["linuxkit/kernel:6.6"])
		case init[ref]:
			out[name] = system[i%len(system)]
		default:
			out[name] = running[i%len(running)]
		}
	}
	return indexes(out)
}

// kernelFor adds the microcode that the document asks for.
func kernelFor(doc *linuxkit.Document, kernel recipe) recipe {
	if ucode := doc.Kernel.UCode; ucode != nil && *ucode != "" {
		kernel.layers = append(slices.Clone(kernel.layers), layer("f 644 0:0 "+*ucode+" UCODE"))
	}
	return kernel
}

func indexes(recipes map[string]recipe) (map[string]v1.ImageIndex, error) {
	out := map[string]v1.ImageIndex{}
	for name, r := range recipes {
		index := v1.ImageIndex(empty.Index)
		for _, arch := range []string{"amd64", "arm64"} {
			img, err := buildImage(arch, r.config, r.layers...)
			if err != nil {
				return nil, fmt.Errorf("building the image %q: %w", name, err)
			}
			platform := &v1.Platform{OS: "linux", Architecture: arch}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
		}
		out[name] = index
	}
	return out, nil
}

func recipes() (map[string]recipe, error) {
	modules, err := layer(`
		d 755 0:0 lib
		d 755 0:0 lib/modules
		d 755 0:0 lib/modules/6.6.1
		f 644 0:0 lib/modules/6.6.1/modules.dep kernel/a.ko:
		d 755 0:0 lib/modules/6.6.1/kernel
		f 644 0:0 lib/modules/6.6.1/kernel/a.ko module a
	`).tar()
	if err != nil {
		return nil, err
	}
	all := systemRecipes()
	for name, r := range containerRecipes() {
		all[name] = r
	}
	archive := func(name string) string { return "f 644 0:0 " + name + " " + strconv.Quote(string(modules)) + "\n" }
	all["linuxkit/kernel:6.6"] = recipe{layers: []layer{layer("f 755 7:7 kernel KERNEL\nf 644 0:0 System.map map\n" + archive("kernel.tar"))}}
	all["linuxkit/kernel:odd"] = recipe{layers: []layer{layer("d 700 0:0 boot\nf 600 0:0 boot/vmlinuz OTHER\nf 644 0:0 ucode.cpio UCODE\n" + archive("mods.tar"))}}
	all["linuxkit/kernel:bare"] = recipe{layers: []layer{"f 644 0:0 kernel BARE"}}
	return all, nil
}

// systemRecipes are the images for init and volumes.
func systemRecipes() map[string]recipe {
	return map[string]recipe{
		"linuxkit/init:v1": {layers: []layer{`
			d 755 0:0 bin
			f 755 0:0 bin/busybox busybox
			l 777 0:0 bin/sh busybox
			h 755 0:0 bin/ash bin/busybox
			f 4755 0:0 bin/su setuid
			d 700 1:1 dev
			c 600 0:5 dev/console 5:1
			c 666 0:0 dev/null 1:3
			b 660 0:6 dev/loop0 7:0
			p 600 0:0 dev/initctl
			d 750 0:0 etc
			f 600 3:3 etc/hosts own hosts
			f 644 0:0 etc/hostname moby
			f 640 4:4 etc/resolv.conf nameserver 192.0.2.1
			d 755 0:0 etc/init.d
			f 755 0:0 etc/init.d/000-first #!/bin/sh
			f 644 0:0 etc/removed later
			f 755 0:0 init INIT
			d 755 0:0 lib
			d 755 0:0 lib/apk
			d 755 0:0 lib/apk/db
			f 644 0:0 lib/apk/db/installed P:busybox
			d 1777 0:0 tmp
			f 644 0:0 Dockerfile FROM scratch
			f 644 0:0 .dockerenv x
			d 755 0:0 opaque
			f 644 0:0 opaque/old old
			d 755 0:0 replaced
			f 644 0:0 replaced/inner inner
			f 644 0:0 tofolder file`, `
			f 644 0:0 etc/.wh.removed
			f 644 0:0 opaque/.wh..wh..opq
			f 644 0:0 opaque/new new
			f 644 0:0 .wh.replaced
			d 755 0:0 tofolder
			f 644 0:0 tofolder/inner folder`}},
		"linuxkit/runc:v1": {layers: []layer{`
			d 755 0:0 etc
			f 644 0:0 etc/mtab own mtab
			d 755 0:0 usr
			d 755 0:0 usr/bin
			f 755 0:0 usr/bin/runc runc
			d 755 0:0 lib
			d 755 0:0 lib/apk
			d 755 0:0 lib/apk/db
			f 600 1:1 lib/apk/db/installed P:runc`}},
		"linuxkit/containerd:v1": {layers: []layer{`
			d 711 0:0 usr
			d 755 0:0 usr/bin
			f 755 0:0 usr/bin/containerd containerd
			f 755 0:0 usr/bin/runc other runc
			d 755 0:0 boot
			f 644 0:0 boot/left-over x
			d 755 0:0 var
			l 777 0:0 var/run ../run
			d 755 0:0 lib
			d 755 0:0 lib/apk
			d 755 0:0 lib/apk/db
			f 644 0:0 lib/apk/db/installed P:containerd`}},
		"linuxkit/ca-certificates:v1": {layers: []layer{`
			d 755 0:0 etc
			d 755 0:0 etc/ssl
			f 644 0:0 etc/ssl/cert.pem cert`}},
		"linuxkit/firmware:v1": {layers: []layer{`
			d 755 0:0 lib
			d 755 0:0 lib/firmware
			f 644 0:0 lib/firmware/nic.bin firmware`}},
		"library/debian:merged": {layers: []layer{`
			d 755 0:0 etc
			d 755 0:0 usr
			d 755 0:0 usr/lib
			f 644 0:0 usr/lib/os-release debian
			d 755 0:0 usr/bin
			l 777 0:0 bin usr/bin
			l 777 0:0 lib usr/lib
			l 777 0:0 sbin /usr/bin`}},
		"linuxkit/links:v1": {layers: []layer{`
			d 755 0:0 data
			f 640 6:6 data/one content
			h 640 6:6 data/two data/one
			h 640 6:6 data/three data/one
			f 600 0:0 data/alone alone`, `
			h 600 0:0 data/z-alone data/alone
			h 600 0:0 data/a-alone data/alone
			f 644 0:0 data/.wh.one`}},
		"hook/embedded:v1": {layers: []layer{`
			d 755 0:0 etc
			d 755 0:0 etc/embedded-images
			d 700 0:0 etc/embedded-images/overlay2
			d 755 0:0 etc/init.d
			f 755 0:0 etc/init.d/001-images-mount.sh #!/bin/sh`}},
	}
}

// containerRecipes are the images that run.
func containerRecipes() map[string]recipe {
	base := layer(`
		d 755 0:0 bin
		f 755 0:0 bin/busybox busybox
		l 777 0:0 bin/sh /bin/busybox
		d 755 0:0 etc
		f 644 0:0 etc/passwd root
		l 777 0:0 lib usr/lib
		d 755 0:0 usr
		d 755 0:0 usr/lib
		f 755 0:0 usr/lib/libc.so libc`)
	label := func(text string) map[string]string { return map[string]string{"org.mobyproject.config": text} }
	return map[string]recipe{
		"linuxkit/plain:v1": {
			config: v1.Config{Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"true"}, Env: []string{"PATH=/bin", "A=1"}, WorkingDir: "/work"},
			layers: []layer{base},
		},
		"library/redis:7": {config: v1.Config{Cmd: []string{"redis-server"}}, layers: []layer{base, "f 755 0:0 bin/redis redis"}},
		"linuxkit/dhcpcd:v1": {
			config: v1.Config{Cmd: []string{"/sbin/dhcpcd"}, Labels: label(`{"binds": ["/run:/run", "/tmp:/etc"], "capabilities": ["CAP_NET_ADMIN", "CAP_NET_RAW"], "net": "new", "runtime": {"mkdir": ["/var/lib/dhcpcd"], "namespace": "label"}}`)},
			layers: []layer{base},
		},
		"linuxkit/labelled:v1": {config: v1.Config{Entrypoint: []string{"/bin/own"}, Env: []string{"FROM=image"}, WorkingDir: "/image", Labels: label(fullLabel)}, layers: []layer{base}},
		"linuxkit/volume:v1": {layers: []layer{`
			d 755 5:5 data
			f 640 5:5 data/file content
			l 777 0:0 data/link file
			h 640 5:5 data/hard data/file`}},
	}
}

// fullLabel uses every key that a label may have.
const fullLabel = `{
	"capabilities": ["CAP_SYS_ADMIN"], "ambient": ["CAP_NET_RAW"],
	"mounts": [{"type": "cgroup2", "destination": "/sys/fs/cgroup", "options": ["rw"]}],
	"binds": ["/label:/label"], "devices": [{"path": "/dev/label", "type": "c", "major": 1, "minor": 2, "mode": "0600"}],
	"tmpfs": ["/label-tmp"], "command": ["/bin/label"], "env": ["FROM=label"], "cwd": "/label",
	"net": "host", "pid": "host", "ipc": "new", "uts": "new", "userns": "root", "hostname": "label",
	"readonly": true, "maskedPaths": ["/label/masked"], "readonlyPaths": ["/label/ro"],
	"uid": 11, "gid": 12, "additionalGids": [13], "noNewPrivileges": true, "oomScoreAdj": -5,
	"rootfsPropagation": "shared", "cgroupsPath": "label", "resources": {"memory": {"limit": 1000000}},
	"sysctl": {"kernel.label": "1"}, "rlimits": ["nofile,10,20"], "annotations": {"from": "label"},
	"runtime": {"cgroups": ["label"], "mounts": [{"type": "bind", "source": "/label", "destination": "/x", "options": ["bind"]}],
		"mkdir": ["/label"], "interfaces": [{"name": "eth0"}], "bindNS": {"net": "/run/netns/label"}, "namespace": "label"}}`
