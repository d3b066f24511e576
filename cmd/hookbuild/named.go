package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
	"hookbuild/kernel/kconfig"
)

// checkNamed returns an error if an option names a file that does not exist, or if
// --set does not have the form of an assignment. Without it, this would be found
// only after the bundle was fetched. A file that a kit has need not exist here.
func (a *app) checkNamed(c *cli.Context) error {
	for _, set := range c.StringSlice("set") {
		if _, err := kconfig.ParseSet(set); err != nil {
			return err
		}
	}
	if a.kept != nil {
		return nil
	}
	sources, err := moduleSources(c)
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err := checkPaths("module-source", s.Source); err != nil {
			return err
		}
	}
	for _, option := range []string{"source", "worker-from", "initramfs", "vmlinuz", "firmware"} {
		if err := checkPaths(option, c.String(option)); err != nil {
			return err
		}
	}
	for _, option := range []string{"fragment", "patch"} {
		if err := checkPaths(option, c.StringSlice(option)...); err != nil {
			return err
		}
	}
	for _, image := range c.StringSlice("image") {
		source, _, _ := strings.Cut(image, "=")
		if err := checkPaths("image", localImage(source)); err != nil {
			return err
		}
	}
	switch form, rest, _ := strings.Cut(c.String("kernel"), ":"); form {
	case "deb":
		return checkPaths("kernel", strings.Split(rest, ",")...)
	case "dir":
		return checkPaths("kernel", rest)
	}
	return nil
}

// checkPaths returns an error if one of the paths that an option names does not
// exist.
func checkPaths(option string, paths ...string) error {
	for _, path := range paths {
		if path == "" || web.IsURL(path) || strings.HasPrefix(path, "image:") {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return fault.Invalidf("looking for what --%s names: %w; correct the path", option, err)
		}
	}
	return nil
}

// localImage returns the path of the file or directory that holds an image, or ""
// if the image is elsewhere. A reference may follow the path.
func localImage(source string) string {
	form, path, _ := strings.Cut(source, ":")
	if form != "oci" && form != "oci-archive" && form != "docker-archive" {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		path, _, _ = strings.Cut(path, ":")
	}
	return path
}
