package container

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"

	"hookbuild/kernel/kconfig"
)

// Configured is the result of configuring a kernel.
type Configured struct {
	// Before and After are complete configurations.
	Before, After *kconfig.Config
	// Defconfig is the new defconfig, as savedefconfig writes it.
	Defconfig []byte
	// Lost has a sentence for each line of the target's configuration that the
	// source did not accept. The new Defconfig lacks these lines.
	Lost []string
}

// Changes returns the differences between Before and After.
func (c *Configured) Changes() []kconfig.Change { return kconfig.Diff(c.Before, c.After) }

// Configure applies requests to the target's configuration. If one of them does
// not take effect, it returns the result together with an error that says why
// (a [*kconfig.UnmetError]).
func (b *Builder) Configure(ctx context.Context, t Target, requests []kconfig.Request) (*Configured, error) {
	outputs, err := b.configure(ctx, t, "configure", requests, nil)
	if err != nil {
		return nil, err
	}
	c, err := readConfigured(outputs)
	if err != nil {
		return nil, err
	}
	if c.Lost, err = lostLines(t, c.Before, outputs["kconfig.tar"]); err != nil {
		return nil, err
	}
	if len(kconfig.Unmet(requests, c.After)) == 0 {
		return c, nil
	}
	tree, err := readTree(t, outputs["kconfig.tar"])
	if err != nil {
		return nil, err
	}
	return c, kconfig.Check(requests, c.After, tree)
}

// lostLines explains which lines of the target's configuration are missing in
// the one that the source made from it.
func lostLines(t Target, made *kconfig.Config, archive []byte) ([]string, error) {
	given, err := kconfig.Parse(bytes.NewReader(t.Defconfig), "the configuration of "+t.Flavor)
	if err != nil {
		return nil, err
	}
	lines := given.Requests("the configuration")
	if len(kconfig.Unmet(lines, made)) == 0 {
		return nil, nil
	}
	tree, err := readTree(t, archive)
	if err != nil {
		return nil, err
	}
	return tree.Lost(lines, made), nil
}

// Menuconfig opens the kernel's menu on the user's terminal.
func (b *Builder) Menuconfig(ctx context.Context, t Target, terminal *Terminal) (*Configured, error) {
	return b.interactive(ctx, t, "menuconfig", terminal)
}

// Shell opens a shell on the user's terminal, in the container with the
// kernel's source.
func (b *Builder) Shell(ctx context.Context, t Target, terminal *Terminal) (*Configured, error) {
	return b.interactive(ctx, t, "shell", terminal)
}

func (b *Builder) interactive(ctx context.Context, t Target, step string, terminal *Terminal) (*Configured, error) {
	outputs, err := b.configure(ctx, t, step, nil, terminal)
	if err != nil {
		return nil, err
	}
	return readConfigured(outputs)
}

// prepare makes the engine have the target's builder image, which it returns, and
// its source.
func (b *Builder) prepare(ctx context.Context, t Target) (tools toolchain, image string, err error) {
	if tools, err = toolchainOf(t.Arch); err != nil {
		return tools, "", err
	}
	if image, err = b.ensureImage(ctx, t, tools); err != nil {
		return tools, "", err
	}
	return tools, image, b.ensureSource(ctx, t, image)
}

// configure prepares the image and the source and runs the script.
func (b *Builder) configure(ctx context.Context, t Target, step string, requests []kconfig.Request, terminal *Terminal) (map[string][]byte, error) {
	tools, image, err := b.prepare(ctx, t)
	if err != nil {
		return nil, err
	}
	var outputs map[string][]byte
	err = b.run(ctx, job{
		target: t, step: step, script: "configure.sh", image: image, env: b.environment(tools), terminal: terminal,
		files: map[string][]byte{"defconfig": t.Defconfig, "requests": kconfig.Merge(nil, requests)},
		collect: func(ctx context.Context, id string) (err error) {
			outputs, err = b.smallOutputs(ctx, id)
			return err
		},
	})
	return outputs, err
}

func readConfigured(outputs map[string][]byte) (*Configured, error) {
	before, err := kconfig.Parse(bytes.NewReader(outputs["before.config"]), "the configuration before")
	if err != nil {
		return nil, err
	}
	after, err := kconfig.Parse(bytes.NewReader(outputs["after.config"]), "the configuration after")
	if err != nil {
		return nil, err
	}
	if len(outputs["defconfig"]) == 0 || after.Len() == 0 {
		return nil, fmt.Errorf("configuring the kernel: the container returned no configuration")
	}
	return &Configured{Before: before, After: after, Defconfig: outputs["defconfig"]}, nil
}

// readTree reads the Kconfig files that the container packed.
func readTree(t Target, archive []byte) (*kconfig.Tree, error) {
	tools, err := toolchainOf(t.Arch)
	if err != nil {
		return nil, err
	}
	files, err := kconfigFiles(archive)
	if err != nil {
		return nil, err
	}
	read := func(name string) ([]byte, error) {
		text, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
		}
		return text, nil
	}
	return kconfig.ReadTree(read, tools.kernelArch)
}
