package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kbuild"
	"hookbuild/kernel/modules"
)

// armbianKernel fetches a ready-made kernel and makes a kernel image of it.
func (a *app) armbianKernel(c *cli.Context, f flavor.Flavor, o kernel.Options) error {
	client, err := a.newClient(c, o.Cache)
	if err != nil {
		return err
	}
	repository := orDefault(a.variable("ARMBIAN_BASE_ORAS_REF"), kernel.ArmbianBase) + "/" + f.Artifact
	ref := repository + ":" + a.variable("ARMBIAN_KERNEL_VERSION")
	if strings.HasSuffix(ref, ":") {
		if ref, err = kernel.LatestArmbian(c.Context, client, repository); err != nil {
			return err
		}
	}
	_, tag, _ := strings.Cut(strings.TrimPrefix(ref, repository), ":")
	name := fmt.Sprintf("%s-armbian:%s-%s", orDefault(a.variable("HOOK_KERNEL_OCI_BASE"), kbuild.Repository), tag, strings.TrimPrefix(f.ID, "armbian-"))
	return a.deliver(c, f, name, o, func() (*kernel.Image, error) {
		image, err := kernel.FromArmbian(c.Context, client, ref, o)
		if err != nil {
			return nil, err
		}
		if err := a.chooseModules(c, image, o); err != nil {
			return nil, errors.Join(err, image.Close())
		}
		return image, nil
	})
}

func (a *app) chooseModules(c *cli.Context, image *kernel.Image, o kernel.Options) error {
	choice := modules.Choice{Include: c.StringSlice("modules"), Exclude: c.StringSlice("without-modules")}
	firmware, err := a.firmware(c, o)
	if err != nil || firmware == nil && len(choice.Include)+len(choice.Exclude) == 0 {
		return err
	}
	_, err = image.Select(c.Context, choice, firmware, o)
	return err
}

// firmware opens what --firmware names; nil when it names nothing.
func (a *app) firmware(c *cli.Context, o kernel.Options) (*initramfs.Tree, error) {
	from := c.String("firmware")
	if from == "" {
		return nil, nil
	}
	ref, isImage := strings.CutPrefix(from, "image:")
	if !isImage {
		return kernel.DirTree(c.Context, from)
	}
	client, err := a.newClient(c, o.Cache)
	if err != nil {
		return nil, err
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return nil, err
	}
	image, err := client.Image(c.Context, ref, v1.Platform{OS: "linux", Architecture: orDefault(arch, "amd64")})
	if err != nil {
		return nil, err
	}
	return image.Tree(c.Context)
}

// publishKernel packs the image, puts it where the flags say, and prints its
// name.
func (a *app) publishKernel(c *cli.Context, m *kernel.Image, ref string) (err error) {
	when, err := a.sourceDate()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hookbuild-kernel-")
	if err != nil {
		return fmt.Errorf("packing the kernel: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image, err := m.Pack(c.Context, kernel.PackOptions{Dir: dir, Time: when})
	if err != nil {
		return err
	}
	if err := a.exportKernel(c, ref, image); err != nil {
		return err
	}
	if err := a.loadKernel(c, ref, image); err != nil {
		return err
	}
	if a.pushes(c) {
		if err := a.kernelRegistry(c).Push(c.Context, ref, image); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(a.results(), ref)
	return err
}

// pushes tells whether the image goes to its registry.
func (a *app) pushes(c *cli.Context) bool { return c.Bool("push") || truth(a.variable("DO_PUSH")) }

// exportPath is where the image is written besides: what --export says, or
// build.sh's EXPORT_KERNEL_IMAGE; "" is nowhere.
func (a *app) exportPath(c *cli.Context, ref string) string {
	if given := c.String("export"); given != "" || !truth(a.variable("EXPORT_KERNEL_IMAGE")) {
		return given
	}
	file := strings.ReplaceAll(path.Base(ref), ":", "-") + ".tar.gz"
	return filepath.Join(orDefault(a.variable("EXPORT_KERNEL_IMAGE_DIR"), os.TempDir()), file)
}

func (a *app) exportKernel(c *cli.Context, ref string, image v1.Image) error {
	to := a.exportPath(c, ref)
	if to == "" {
		return nil
	}
	return kernel.Export(c.Context, to, ref, image)
}

// loadKernel puts the image into Docker. Without a Docker that is an error
// only when the image goes nowhere else.
func (a *app) loadKernel(c *cli.Context, ref string, image v1.Image) error {
	if c.Bool("no-load") {
		return nil
	}
	docker, err := dockerhost.Connect(c.Context)
	if err != nil {
		if a.pushes(c) || a.exportPath(c, ref) != "" {
			a.note("the image is not put into Docker: %v", err)
			return nil
		}
		return fmt.Errorf("%w; or write the image somewhere else: --export PATH or --push", err)
	}
	return errors.Join(kernel.DockerLoad(c.Context, docker, ref, image), docker.Close())
}

// sourceDate is SOURCE_DATE_EPOCH; the zero time when it is not set.
func (a *app) sourceDate() (time.Time, error) {
	text := a.variable("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH is %q; it should be seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
