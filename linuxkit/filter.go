package linuxkit

import (
	"path"

	"hookbuild/internal/initramfs"
)

// The fixed contents of some files in an image's file system, as LinuxKit sets
// them. A container engine replaces them in every running container, so an
// image's own are not necessarily useful.
const (
	hostsContent = `127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`
	resolvContent = "\n# no resolv.conf configured\n"
	// resolvTarget is the target of /etc/resolv.conf of the root file system,
	// because the DHCP client can write there.
	resolvTarget = "/run/resolvconf/resolv.conf"
)

// addImage adds an image's file system below the directory at, without the
// files that a container engine leaves in it and with those that LinuxKit
// wants. RootFS reports whether it is (part of) the system's own root.
func (s *source) addImage(at string, img *initramfs.Tree, rootFS bool) error {
	filtered, err := s.labelled(img)
	if err != nil {
		return err
	}
	for _, name := range []string{".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"} {
		filtered.Remove(name)
	}
	for _, e := range standardFiles(filtered, rootFS) {
		e.ModTime, e.Origin = s.modTime, s.origin("")
		if err := filtered.Add(e); err != nil {
			return err
		}
	}
	return s.tree.Graft(at, filtered)
}

// standardFiles returns the files that every file system gets, whatever its
// image has there.
func standardFiles(img *initramfs.Tree, rootFS bool) []initramfs.Entry {
	var files []initramfs.Entry
	for _, dir := range []string{"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"} {
		files = append(files, initramfs.Entry{Path: dir, Type: initramfs.Dir, Mode: 0o755})
	}
	if _, ok := lookup(img, "etc/mtab"); !ok {
		files = append(files, symlink("etc/mtab", "/proc/mounts"))
	}
	files = append(files, initramfs.BytesFile("etc/hosts", []byte(hostsContent), initramfs.Epoch()))
	if rootFS {
		return append(files, symlink("etc/resolv.conf", resolvTarget))
	}
	return append(files, initramfs.BytesFile("etc/resolv.conf", []byte(resolvContent), initramfs.Epoch()))
}

func symlink(name, target string) initramfs.Entry {
	return initramfs.Entry{Path: name, Type: initramfs.Symlink, Mode: 0o777, Target: target}
}

// lookup returns the entry at name. It follows symlinks on the way, but not
// name itself.
func lookup(tree *initramfs.Tree, name string) (initramfs.Entry, bool) {
	dir, ok := tree.Resolve(path.Dir(name))
	if !ok {
		return initramfs.Entry{}, false
	}
	return tree.Lookup(path.Join(dir, path.Base(name)))
}
