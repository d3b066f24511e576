package linuxkit

import "hookbuild/internal/initramfs"

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
	filtered := newLayout(s.modTime)
	inner := filtered.begin(Part{})
	if err := inner.tree.Graft("", img); err != nil {
		return err
	}
	for _, name := range []string{".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"} {
		filtered.tree.Remove(name)
	}
	if err := inner.addStandard(rootFS); err != nil {
		return err
	}
	return s.graft(at, &filtered.tree)
}

func (s *source) addStandard(rootFS bool) error {
	for _, dir := range []string{"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"} {
		if err := s.add(s.own(initramfs.Entry{Path: dir, Type: initramfs.Dir, Mode: 0o755})); err != nil {
			return err
		}
	}
	if !s.covers("etc/mtab") {
		if err := s.symlink("etc/mtab", "/proc/mounts"); err != nil {
			return err
		}
	}
	if err := s.file("etc/hosts", []byte(hostsContent)); err != nil {
		return err
	}
	if rootFS {
		return s.symlink("etc/resolv.conf", resolvTarget)
	}
	return s.file("etc/resolv.conf", []byte(resolvContent))
}

func (s *source) symlink(name, target string) error {
	return s.add(s.own(initramfs.Entry{Path: name, Type: initramfs.Symlink, Mode: 0o777, Target: target}))
}
