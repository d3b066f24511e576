package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
	"hookbuild/kernel/kconfig"
)

// readOptions returns the options whose files a command reads. In another command, an
// option of the same name may take something else than a file.
func readOptions() []string {
	return []string{
		"bundle", "cluster", "fragment", "hardware", "images-file", "initramfs", "iso-loader", "list", "lspci", "overlay",
		"patch", "signature", "site", "source", "template", "tls-cert", "tls-key", "vmlinuz", "worker-from", "yaml",
	}
}

// checkReadable returns an error if an option, or its key of hookbuild.yaml, names a
// file that cannot be read. It runs before the command, which may reach that file only
// after long work. Files that a kit has need not exist here.
func (a *app) checkReadable(c *cli.Context) error {
	if a.kept != nil || a.site != nil && a.site.kept {
		return nil
	}
	for _, f := range c.Command.Flags {
		name, takes := f.Names()[0], placeholderOf(f)
		if !c.IsSet(name) || !slices.Contains(readOptions(), name) || !strings.Contains(takes, "FILE") && takes != "KEY" {
			continue
		}
		values := c.StringSlice(name)
		if _, isList := f.(*cli.StringSliceFlag); !isList {
			values = []string{c.String(name)}
		}
		for _, value := range values {
			if !namesFile(name, value) {
				continue
			}
			if err := readable(value, strings.Contains(takes, "DIR")); err != nil {
				return fault.Invalidf("%s: %w; %s", a.sayingOf(name), err, otherPath(name, err))
			}
		}
	}
	return nil
}

// placeholderOf returns what a flag takes, as its help calls it.
func placeholderOf(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	takes, _ := unquoteUsage(doc.GetUsage())
	return takes
}

// namesFile reports whether an option's value is a file's name, and not standard
// input, a URL or an image.
func namesFile(option, value string) bool {
	if value == "" || value == "-" || web.IsURL(value) {
		return false
	}
	if option != "iso-loader" {
		return true
	}
	_, err := os.Stat(value)
	return err == nil || strings.HasPrefix(value, ".") || filepath.IsAbs(value) || strings.EqualFold(filepath.Ext(value), ".efi")
}

// errDirectory is the error of a directory in the place of a file.
var errDirectory = errors.New("is a directory")

// otherPath returns what to do about an option's path that cannot be read.
func otherPath(option string, err error) string {
	switch {
	case !errors.Is(err, errDirectory):
		return "correct the path"
	case option == "initramfs":
		return "name the initramfs in it, or the directory of a HookOS with --base"
	}
	return "name a file in it"
}

// readable returns an error if a file cannot be read. Pipes are not opened, because
// what they hold can be read only once.
func readable(path string, orDir bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir() && !orDir:
		return fmt.Errorf("%q %w", path, errDirectory)
	case !info.Mode().IsRegular():
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// sayingOf returns where an option's value is from, for a message about it.
func (a *app) sayingOf(option string) string {
	if a.fromSite(option) {
		s := a.site.applied[option]
		return fmt.Sprintf("%s:%d: reading what %s names", a.site.Path, s.Line, s.Key)
	}
	return "reading what --" + option + " names"
}

// checkNamed returns an error if an option, which may come from a lock, names a file that cannot be read, or if
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
		if err := a.checkPaths("module-source", s.Source); err != nil {
			return err
		}
	}
	for _, option := range []string{"source", "worker-from", "initramfs", "vmlinuz", "firmware"} {
		if err := a.checkPaths(option, c.String(option)); err != nil {
			return err
		}
	}
	for _, option := range []string{"fragment", "patch"} {
		if err := a.checkPaths(option, c.StringSlice(option)...); err != nil {
			return err
		}
	}
	for _, image := range c.StringSlice("image") {
		source, _, _ := strings.Cut(image, "=")
		if err := a.checkPaths("image", localImage(source)); err != nil {
			return err
		}
	}
	switch form, rest, _ := strings.Cut(c.String("kernel"), ":"); form {
	case "deb":
		return a.checkPaths("kernel", strings.Split(rest, ",")...)
	case "dir":
		return a.checkPaths("kernel", rest)
	}
	return nil
}

// checkPaths returns an error if one of the paths that an option names cannot be
// read.
func (a *app) checkPaths(option string, paths ...string) error {
	for _, path := range paths {
		if path == "" || web.IsURL(path) || strings.HasPrefix(path, "image:") {
			continue
		}
		if err := readable(path, true); err != nil {
			return fault.Invalidf("%s: %w; correct the path", a.sayingOf(option), err)
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
