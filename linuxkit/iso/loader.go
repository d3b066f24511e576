package iso

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// loaderPaths returns the paths of GRUB's EFI program, best first: in an image
// such as linuxkit/grub, and in the packages of Debian and Ubuntu, where the
// one for CDs includes all modules.
func loaderPaths(arch string) []string {
	boot, grub, suffix := "BOOTX64.EFI", "x86_64-efi", "x64.efi"
	if arch == "arm64" {
		boot, grub, suffix = "BOOTAA64.EFI", "arm64-efi", "aa64.efi"
	}
	return []string{
		boot,
		"EFI/BOOT/" + boot,
		"usr/local/share/" + boot,
		"usr/lib/grub/" + grub + "/monolithic/gcd" + suffix,
		"usr/lib/grub/" + grub + "-signed/gcd" + suffix + ".signed",
	}
}

// FindLoader finds a boot loader for arch (amd64, arm64) in the file system of
// an image or a distribution's package. It returns the loader and its path
// there.
func FindLoader(tree *initramfs.Tree, arch string) (Content, string, error) {
	for _, path := range loaderPaths(arch) {
		if e, ok := tree.Find(path); ok && e.Type == initramfs.Regular {
			return Content{Size: e.Size, Open: e.Open}, path, nil
		}
	}
	return Content{}, "", missingLoader("there", arch)
}

// LocalLoader finds this machine's boot loader for arch, as installed by its
// distribution, in the file system root ([os.DirFS] of "/"). It returns the
// loader and its path.
func LocalLoader(root fs.FS, arch string) (Content, string, error) {
	content, path, err := findIn(root, loaderPaths(arch)[3:])
	if err == nil && path == "" {
		err = missingLoader("on this machine", arch)
	}
	return content, "/" + path, err
}

// DirLoader finds a boot loader for arch in a directory: an EFI program itself,
// or an unpacked package or image. It returns the loader and its path there.
func DirLoader(dir fs.FS, arch string) (Content, string, error) {
	content, path, err := findIn(dir, loaderPaths(arch))
	if err == nil && path == "" {
		err = missingLoader("in the directory", arch)
	}
	return content, path, err
}

// findIn returns the first of the paths that exists, or "" if none does.
func findIn(root fs.FS, paths []string) (Content, string, error) {
	for _, path := range paths {
		info, err := fs.Stat(root, path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return Content{}, "", fmt.Errorf("looking for a boot loader: %w", err)
		}
		return Content{Size: info.Size(), Open: func() (io.ReadCloser, error) { return root.Open(path) }}, path, nil
	}
	return Content{}, "", nil
}

// fromDebian says how to get Debian's boot loader for arch. A package for another
// architecture than this machine's cannot be installed beside those of this one.
func fromDebian(arch string) string {
	name := "grub-efi-" + arch + "-bin"
	if arch == runtime.GOARCH {
		return "install Debian's " + name
	}
	return "unpack Debian's package " + name + " with `dpkg-deb -x PACKAGE DIR`, and name the directory with --iso-loader ./DIR"
}

func missingLoader(where, arch string) error {
	return fault.Invalidf("looking for a boot loader for %s: not found %s (%s); %s, or name an EFI program or an image with one, such as linuxkit/grub, with --iso-loader",
		arch, where, strings.Join(loaderPaths(arch), ", "), fromDebian(arch))
}
