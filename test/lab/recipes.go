package lab

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// file is one file of an image, owned by root. Mode 0 with a link is a symlink;
// a directory's name ends with a slash.
type file struct {
	name string
	mode int64
	link string
	open func() (io.ReadCloser, int64, error)
}

func textFile(name, content string, mode int64) file {
	return file{name: name, mode: mode, open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(content)), int64(len(content)), nil
	}}
}

func symlink(name, target string) file { return file{name: name, link: target} }

func directory(name string, mode int64) file { return file{name: name + "/", mode: mode} }

// recipe is an image: its name in the checkout, layers from the lowest up, and
// how it runs.
type recipe struct {
	name   string
	layers [][]file
	config v1.Config
}

// ingredients is what the images are made of.
type ingredients struct {
	programs
	checkout fs.FS  // testdata/hook
	labinit  string // the guest program, built
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// recipes lists the images of the miniature checkout, sorted by name.
func (i ingredients) recipes() ([]recipe, error) {
	var all []recipe
	for _, write := range []func() (recipe, error){i.bootkit, i.docker, i.embedded, i.init, i.modprobe, i.runc} {
		r, err := write()
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// docker is dockerd with what it runs; docker-proxy, ctr and the other tools of
// the packages stay out.
func (i ingredients) docker() (recipe, error) {
	return i.service("hook-docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc")
}

func (i ingredients) bootkit() (recipe, error) {
	return i.service("hook-bootkit", "docker")
}

// service is an image of a shell and some programs that runs the checkout's
// script of its name.
func (i ingredients) service(name string, names ...string) (recipe, error) {
	base, err := i.base()
	if err != nil {
		return recipe{}, err
	}
	var own []file
	for _, n := range names {
		files, err := i.program(n, "usr/bin/"+n)
		if err != nil {
			return recipe{}, err
		}
		own = append(own, files...)
	}
	script, err := i.script("images/"+name+"/"+name+".sh", name+".sh")
	if err != nil {
		return recipe{}, err
	}
	config := v1.Config{Entrypoint: []string{"/" + name + ".sh"}, Env: []string{searchPath}, WorkingDir: "/"}
	return recipe{name: name, layers: [][]file{base, append(unique(own), script)}, config: config}, nil
}

// script takes a file of the checkout over.
func (i ingredients) script(source, at string) (file, error) {
	content, err := fs.ReadFile(i.checkout, source)
	if err != nil {
		return file{}, fmt.Errorf("taking a script from the checkout: %w", err)
	}
	return textFile(at, string(content), 0o755), nil
}

// unique leaves out what a second program brings again.
func unique(files []file) []file {
	seen := map[string]bool{}
	return slices.DeleteFunc(files, func(f file) bool {
		again := seen[f.name]
		seen[f.name] = true
		return again
	})
}

// base is the layer that the images with a shell share.
func (i ingredients) base() ([]file, error) {
	busybox, err := i.program("busybox", "bin/busybox")
	if err != nil {
		return nil, err
	}
	files := append(slices.Clip(busybox),
		textFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
		textFile("etc/group", "root:x:0:\ntty:x:5:\ndocker:x:999:\n", 0o644),
		directory("root", 0o700), directory("tmp", 0o1777), directory("run", 0o755), directory("var/lib", 0o755), directory("var/log", 0o755),
	)
	return append(files, applets()...), nil
}

// init is the image that a machine starts from. Its mount points are all there:
// the root is read-only when they are used.
func (i ingredients) init() (recipe, error) {
	base, err := i.base()
	if err != nil {
		return recipe{}, err
	}
	program := file{name: "init", mode: 0o755, open: func() (io.ReadCloser, int64, error) { return openSized(i.labinit) }}
	base = slices.DeleteFunc(base, func(f file) bool { return f.name == "sbin/init" })
	files := append(slices.Clip(base), program,
		symlink("sbin/init", "../init"), symlink("bin/rc.init", "../init"), symlink("usr/bin/service", "../../init"))
	for _, name := range []string{"dev", "etc/init.d", "lib", "mnt", "proc", "sys", "usr/lib"} {
		files = append(files, directory(name, 0o755))
	}
	return recipe{name: "hook-linuxkit-init", layers: [][]file{files}}, nil
}

func (i ingredients) runc() (recipe, error) {
	files, err := i.program("runc", "usr/bin/runc")
	if err != nil {
		return recipe{}, err
	}
	files = append(files, symlink("etc/init.d/010-onboot", "/usr/bin/service"), symlink("etc/init.d/020-services", "/usr/bin/service"))
	return recipe{name: "hook-runc", layers: [][]file{files}}, nil
}

// modprobe brings its rights along in the label that LinuxKit reads.
func (i ingredients) modprobe() (recipe, error) {
	base, err := i.base()
	label := `{"binds": ["/lib/modules:/lib/modules", "/sys:/sys"], "capabilities": ["CAP_SYS_MODULE"]}`
	config := v1.Config{Env: []string{searchPath}, Labels: map[string]string{"org.mobyproject.config": label}}
	return recipe{name: "hook-linuxkit-modprobe", layers: [][]file{base}, config: config}, err
}

// embedded is what upstream's image is in a checkout that nothing was embedded
// in: an empty data root and the script that mounts it.
func (i ingredients) embedded() (recipe, error) {
	script, err := i.script("images/hook-embedded/images-mount.sh", "etc/init.d/001-images-mount.sh")
	files := []file{directory("etc/embedded-images", 0o710), script}
	return recipe{name: "hook-embedded", layers: [][]file{files}}, err
}

// applets are the names that busybox goes by, where Alpine, from which HookOS's
// own comes, has them.
func applets() []file {
	dirs := map[string]string{
		"bin": `ash base64 cat chgrp chmod chown cp cpio date dd df dmesg echo egrep false fgrep getopt grep gunzip
			gzip hostname kill link ln ls mkdir mknod mktemp mount mv pidof ps pwd readlink rm rmdir sed sh sleep stat stty sync tar
			touch true umount uname usleep watch zcat`,
		"sbin":     `blockdev halt hwclock ifconfig init insmod ip losetup lsmod mdev modinfo modprobe pivot_root poweroff reboot rmmod route swapoff swapon switch_root sysctl`,
		"usr/bin":  `[ [[ awk basename bunzip2 bzcat bzip2 clear cmp cut diff dirname du env expr find free head hexdump id less md5sum mkfifo nc nproc nsenter od printf realpath seq setsid sha256sum sha512sum sort strings tail tee test time timeout top tr truncate tty uniq unlink unshare unxz unzip uptime vi wc wget which whoami xargs xz xzcat yes`,
		"usr/sbin": `chroot`,
	}
	var files []file
	for dir, names := range dirs {
		up := strings.Repeat("../", strings.Count(dir, "/")+1)
		for _, name := range strings.Fields(names) {
			files = append(files, symlink(path.Join(dir, name), up+"bin/busybox"))
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files
}
