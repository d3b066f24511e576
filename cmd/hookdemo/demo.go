package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/embed"
	"hookbuild/test/corpus"
	"hookbuild/test/lab"
)

// demo is one demonstration.
type demo struct {
	*story
	arch, work, checkout, hookbuild, flavor, layout string
	// kernel are hookbuild's options for the kernel. Empty means Debian's kernel.
	kernel     []string
	all, fresh bool
	memory     int
	lab        *lab.Lab
}

// play runs the demonstration from the first step to the last.
func (d *demo) play(ctx context.Context) error {
	if err := d.prepare(); err != nil {
		return err
	}
	if len(d.kernel) == 0 {
		if err := d.fetchKernel(ctx); err != nil {
			return err
		}
	}
	registry, err := d.openRegistry(ctx)
	if err != nil {
		return err
	}
	err = d.buildAndBoot(ctx, registry)
	return errors.Join(err, registry.Close())
}

func (d *demo) fetchKernel(ctx context.Context) error {
	return d.step("Fetch Debian's kernel for "+d.arch, func() (string, error) {
		kernel, err := d.lab.Kernel(ctx, d.arch)
		d.kernel = []string{"--kernel", "deb:" + kernel}
		return filepath.Base(kernel), err
	})
}

func (d *demo) buildAndBoot(ctx context.Context, registry *corpus.Registry) error {
	if err := d.pushHookOS(ctx, registry); err != nil {
		return err
	}
	bundle := filepath.Join(d.work, "bundle-"+d.arch+".yaml")
	if err := d.writeBundle(registry, bundle); err != nil {
		return err
	}
	if err := d.compile(ctx); err != nil {
		return err
	}
	if err := d.runHookbuild(ctx, registry, bundle); err != nil {
		return err
	}
	report, err := d.boot(ctx)
	if err != nil {
		return err
	}
	if err := d.judge(report); err != nil {
		return err
	}
	if d.all {
		d.end("a container of each")
	} else {
		d.end("a container of " + corpus.Worker)
	}
	kit, err := d.secondAct(ctx, registry, bundle)
	if err != nil {
		return err
	}
	d.closing(kit)
	return nil
}

// closing names commands to go on with. They use what the demonstration leaves, and no
// network.
func (d *demo) closing(kit string) {
	hook := filepath.Join(d.out(), artifact.DefaultName)
	run := "run --out " + d.out()
	if d.arch != "amd64" {
		run += " --arch " + d.arch
	}
	rows := [][2]string{
		{"inspect " + hook, "What is in them:"},
		{"verify " + hook, "Are they complete?"},
		{run, "Boot them on this terminal; Ctrl-A x stops the machine:"},
		{"serve " + hook, "Serve them to machines, until Ctrl-C:"},
	}
	if kit != "" {
		try := filepath.Join(d.work, "try")
		rows = append(rows, [2]string{"all --locked --kit " + kit + " --out " + try, "Build them again, in " + try + ":"})
	}
	fmt.Fprintf(d.w, "\nThe files are in %s. The registry has stopped, but these need no network:\n\n", hook)
	for _, row := range rows {
		fmt.Fprintf(d.w, "   # %s\n   %s %s\n\n", row[1], d.hookbuild, row[0])
	}
	fmt.Fprintf(d.w, "The warning about the bundle's signature is right: this bundle is the demonstration's own, not AWS's.\n")
}

func (d *demo) prepare() (err error) {
	for _, tool := range []string{"apt-get", "dpkg-deb", "go", lab.Emulator(d.arch)} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; `.ci/setup demo` installs what the demonstration needs", err)
		}
	}
	if d.work, err = filepath.Abs(d.work); err != nil {
		return err
	}
	if d.lab, err = lab.Open(""); err != nil {
		return err
	}
	if d.fresh {
		if err := errors.Join(os.RemoveAll(d.work), d.lab.Forget()); err != nil {
			return err
		}
		if d.lab, err = lab.Open(""); err != nil {
			return err
		}
	}
	d.lab.Log = d.say
	return os.MkdirAll(d.work, 0o755)
}

// openRegistry builds the seven action images and serves them.
func (d *demo) openRegistry(ctx context.Context) (registry *corpus.Registry, err error) {
	err = d.step("Build seven action images and serve them on loopback", func() (string, error) {
		registry, err = corpus.Start(ctx, filepath.Join(d.work, "corpus"), corpus.Options{
			Arches: []string{d.arch}, Packages: d.lab.Packages, Checker: corpus.BuildChecker(d.work),
		})
		if err != nil {
			return "", err
		}
		for _, name := range corpus.Names() {
			document, err := registry.Document(name, d.arch)
			if err != nil {
				return "", err
			}
			d.say("%-11s %s", name, document.Summary())
		}
		return "registry on " + registry.Addr(), nil
	})
	return registry, err
}

// base returns the prefix of the HookOS images in the registry.
func base(registry *corpus.Registry) string { return registry.Addr() + "/hook/" }

func (d *demo) pushHookOS(ctx context.Context, registry *corpus.Registry) error {
	return d.step("Build the images of a miniature HookOS: an init like LinuxKit's, Debian's dockerd, containerd, runc", func() (string, error) {
		images, err := d.lab.Images(ctx, d.arch, os.DirFS(d.checkout))
		if err != nil {
			return "", err
		}
		return "", images.Push(ctx, base(registry))
	})
}

func (d *demo) writeBundle(registry *corpus.Registry, name string) error {
	return d.step("Write an EKS Anywhere bundle that names the seven by digest; it is not signed by AWS, of which hookbuild will warn", func() (string, error) {
		f, err := os.Create(name)
		if err != nil {
			return "", err
		}
		return name, errors.Join(registry.Bundle(f, corpus.Actions), f.Close())
	})
}

func (d *demo) compile(ctx context.Context) error {
	if d.hookbuild != "" {
		return nil
	}
	d.hookbuild = filepath.Join(d.work, "hookbuild")
	return d.step("Compile hookbuild", func() (string, error) {
		// The flags of `make demo` itself, so that nothing is compiled twice.
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", d.hookbuild, "hookbuild/cmd/hookbuild")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		said, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, said)
		}
		return sizeOf(d.hookbuild), nil
	})
}

// choices are hookbuild's words about what to build.
func (d *demo) choices(registry *corpus.Registry, bundle string) []string {
	args := []string{
		d.flavor, "--hook-dir", d.checkout, "--embed-from-bundle", "--bundle", bundle,
		"--insecure-registry", registry.Addr(), "--cache-dir", filepath.Join(d.work, "cache"), "--progress", "plain",
	}
	args = append(args, d.kernel...)
	if d.layout != "" {
		args = append(args, "--layout", d.layout)
	}
	return args
}

func (d *demo) runHookbuild(ctx context.Context, registry *corpus.Registry, bundle string) error {
	args := append([]string{"all", "--out", d.out()}, d.choices(registry, bundle)...)
	return d.step("Run hookbuild", func() (string, error) {
		if err := d.tell(ctx, registry, nil, args...); err != nil {
			return "", err
		}
		return fmt.Sprintf("vmlinuz %s, initramfs %s", sizeOf(d.artifact("vmlinuz")), sizeOf(d.artifact("initramfs"))), nil
	})
}

// tell runs hookbuild, through another program if prefix names one, and shows
// what it says.
func (d *demo) tell(ctx context.Context, registry *corpus.Registry, prefix []string, args ...string) error {
	const variable = "HOOK_LK_CONTAINERS_OCI_BASE"
	d.say("$ %s=%s %s", variable, base(registry), strings.Join(slices.Concat(prefix, []string{"hookbuild"}, args), " "))
	line := slices.Concat(prefix, []string{d.hookbuild}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), variable+"="+base(registry))
	said := d.prefixed("   | ")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 10*time.Second
	return errors.Join(cmd.Run(), said.Close())
}

func (d *demo) out() string { return filepath.Join(d.work, "out-"+d.arch) }

// artifact returns the file that EKS Anywhere asks for by name: "vmlinuz" or
// "initramfs".
func (d *demo) artifact(name string) string {
	return filepath.Join(d.out(), "hook", name+"-"+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[d.arch])
}

// boot boots the two files and returns what the machine reported.
func (d *demo) boot(ctx context.Context) (report lab.Report, err error) {
	arguments, err := d.checkArguments()
	if err != nil {
		return report, err
	}
	initramfs := []string{d.artifact("initramfs")}
	if d.all {
		extra := filepath.Join(d.work, "check.cpio")
		if err := writeCheck(ctx, extra, corpus.Names(), arguments); err != nil {
			return report, err
		}
		initramfs = append(initramfs, extra)
	}
	cmdline := "quiet loglevel=3 facility=onprem tink_worker_image=" + embeddedName(corpus.Worker) + ":latest hookbuild.demo=poweroff"
	if arguments != "" {
		cmdline += " hookbuild.arguments=" + arguments
	}
	title := fmt.Sprintf("Boot vmlinuz and initramfs in QEMU, without network or disk, %d MiB of RAM", d.memory)
	err = d.step(title, func() (string, error) {
		console := d.prefixed("   | ")
		text, err := lab.Boot(ctx, lab.Machine{
			Arch: d.arch, Kernel: d.artifact("vmlinuz"), Initramfs: initramfs, MemoryMB: d.memory, Cmdline: cmdline,
			Timeout: d.patience(), Console: console,
		})
		report = lab.ParseConsole(text)
		log := filepath.Join(d.work, "console-"+d.arch+".log")
		err = errors.Join(err, console.Close(), os.WriteFile(log, []byte(text), 0o644))
		if err != nil {
			err = fmt.Errorf("%w\nthe whole console is in %s, and the HookOS that was built in %s", err, log, d.out())
		}
		return "", err
	})
	return report, err
}

// patience returns the time limit for an emulated machine on a busy host.
func (d *demo) patience() time.Duration {
	if d.all {
		return 40 * time.Minute
	}
	return 20 * time.Minute
}

// checkArguments returns the arguments for the checking program in the images. The
// directory layout loses extended attributes, because neither an initramfs nor
// LinuxKit's init keeps them, and that system has no program to set them.
func (d *demo) checkArguments() (string, error) {
	raw, err := os.ReadFile(filepath.Join(d.out(), "hook", artifact.ManifestFile))
	if err != nil {
		return "", err
	}
	var manifest artifact.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "", fmt.Errorf("reading hookbuild's manifest: %w", err)
	}
	for _, b := range manifest.Builds {
		if b.Options["layout"] == string(embed.Directory) {
			d.say("the images are stored as directories, which cannot keep extended attributes: the check leaves them out")
			return "-no-xattrs", nil
		}
	}
	return "", nil
}
