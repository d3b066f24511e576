package linuxkit

import (
	"path"

	"hookbuild/internal/initramfs"
)

// The fixed contents that LinuxKit gives an image's file system. A container
// engine puts its own in their place in every running container, so that an
// image cannot be relied on to have useful ones.
const (
	hostsContent = `127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`
	resolvContent = "\n# no resolv.conf configured\n"
	// resolvTarget is what /etc/resolv.conf of the root file system points to,
	// since the DHCP client can write there.
	resolvTarget = "/run/resolvconf/resolv.conf"
)

// addImage puts an image's file system below the directory at, without what a
// container engine leaves in it and with what LinuxKit wants in it. Where
// rootFS is true it is (part of) the system's own root.
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

// standardFiles are what every file system has, whatever its image had there.
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

// lookup finds what is at name; symlinks on the way are followed, name
// itself is not.
func lookup(tree *initramfs.Tree, name string) (initramfs.Entry, bool) {
	dir, ok := tree.Resolve(path.Dir(name))
	if !ok {
		return initramfs.Entry{}, false
	}
	return tree.Lookup(path.Join(dir, path.Base(name)))
}
