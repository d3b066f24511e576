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
	named := map[string][]string{"fragment": c.StringSlice("fragment"), "patch": c.StringSlice("patch")}
	for _, option := range []string{"source", "worker-from", "initramfs", "vmlinuz", "firmware"} {
		named[option] = []string{c.String(option)}
	}
	sources, err := moduleSources(c)
	if err != nil {
		return err
	}
	for _, s := range sources {
		named["module-source"] = append(named["module-source"], s.Source)
	}
	switch form, rest, _ := strings.Cut(c.String("kernel"), ":"); form {
	case "deb":
		named["kernel"] = strings.Split(rest, ",")
	case "dir":
		named["kernel"] = []string{rest}
	}
	for _, image := range c.StringSlice("image") {
		source, _, _ := strings.Cut(image, "=")
		named["image"] = append(named["image"], localImage(source))
	}
	for option, paths := range named {
		for _, path := range paths {
			if path == "" || web.IsURL(path) || strings.HasPrefix(path, "image:") {
				continue
			}
			if _, err := os.Stat(path); err != nil {
				return fault.Invalidf("looking for what --%s names: %w; correct the path", option, err)
			}
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
