package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/kernel/container"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kconfig"
)

// Edit changes a flavor's defconfig in the workspace.
type Edit struct {
	// Changes lists the differences in the whole configuration.
	Changes []kconfig.Change
	// Lost has a sentence for each line of the file that the source did not
	// accept.
	Lost []string
	// File is the defconfig; Written reports whether it was replaced.
	File    string
	Written bool
}

// Set applies the plan's requests to the workspace's defconfig. The file is
// left unchanged if a request does not take effect or the source does not
// accept a line of the file.
func (p *Plan) Set(ctx context.Context, b *container.Builder) (*Edit, error) {
	target, err := p.Target(ctx)
	if err != nil {
		return nil, err
	}
	configured, err := b.Configure(ctx, target, p.Requests)
	if configured != nil {
		if lost := p.checkLost(configured.Lost); lost != nil {
			return nil, lost
		}
	}
	if err != nil {
		return nil, err
	}
	return p.keep(configured)
}

// checkLost returns an error about lines of the workspace's file that the
// source does not accept, unless the request allows losing them.
func (p *Plan) checkLost(lost []string) error {
	if len(lost) == 0 || p.Request.AcceptLost {
		return nil
	}
	return fault.Invalidf("reading the kernel configuration %q: Linux %s does not accept %d of its lines, which would be lost; add --accept-lost to continue without them:\n%s",
		p.Request.ConfigFile(), p.Version, len(lost), strings.Join(lost, "\n"))
}

// Interactive is a way to configure on the terminal: [container.Builder.Menuconfig]
// or [container.Builder.Shell].
type Interactive func(ctx context.Context, t container.Target, terminal *container.Terminal) (*container.Configured, error)

// Edit opens a menu or a shell on the user's terminal and stores the
// configuration that was saved there. It first checks that the source accepts
// all lines of the file.
func (p *Plan) Edit(ctx context.Context, b *container.Builder, how Interactive, terminal *container.Terminal) (*Edit, error) {
	target, err := p.Target(ctx)
	if err != nil {
		return nil, err
	}
	checked, err := b.Configure(ctx, target, nil)
	if err != nil {
		return nil, err
	}
	if err := p.checkLost(checked.Lost); err != nil {
		return nil, err
	}
	configured, err := how(ctx, target, terminal)
	if err != nil {
		return nil, err
	}
	configured.Lost = checked.Lost
	return p.keep(configured)
}

// keep replaces the workspace's defconfig if something changed or was lost.
func (p *Plan) keep(c *container.Configured) (*Edit, error) {
	e := &Edit{Changes: c.Changes(), Lost: c.Lost, File: p.Request.ConfigFile()}
	if len(e.Changes)+len(e.Lost) == 0 {
		return e, nil
	}
	if err := replaceFile(e.File, c.Defconfig); err != nil {
		return nil, fmt.Errorf("replacing the kernel configuration: %w", err)
	}
	e.Written = true
	return e, nil
}

// replaceFile replaces the content of a file atomically and keeps its
// permissions.
func replaceFile(name string, content []byte) error {
	mode := fs.FileMode(0o644)
	info, err := os.Stat(name)
	switch {
	case err == nil:
		mode = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return atomicfile.Write(name, mode, func(w io.Writer) error { _, err := w.Write(content); return err })
}

// Doubts says of each option in Sets that neither the flavor's configuration nor any
// kernel known to hookbuild has, which similar ones there are. The kernel's source may
// still have the option.
func (r Request) Doubts() ([]string, error) {
	if len(r.Sets) == 0 {
		return nil, nil
	}
	text, err := readDefconfig(r)
	if err != nil {
		return nil, err
	}
	config, err := kconfig.Parse(bytes.NewReader(text), r.ConfigFile())
	if err != nil {
		return nil, err
	}
	wanted, err := readRequests(nil, r.Sets)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, w := range wanted {
		why, err := kconfig.Doubt(w.Option, config)
		if err != nil {
			return nil, err
		}
		if why != "" {
			all = append(all, w.String()+": "+why)
		}
	}
	return all, nil
}

// Diff compares the flavor's defconfig with a file or with the defconfig of the
// flavor whose id is other.
func Diff(r Request, other string, flavors flavor.Inventory) ([]kconfig.Change, error) {
	text, err := readDefconfig(r)
	if err != nil {
		return nil, err
	}
	mine, err := kconfig.Parse(bytes.NewReader(text), r.ConfigFile())
	if err != nil {
		return nil, err
	}
	otherText, err := readOther(r, other, flavors)
	if err != nil {
		return nil, err
	}
	theirs, err := kconfig.Parse(bytes.NewReader(otherText), other)
	if err != nil {
		return nil, err
	}
	return kconfig.DiffDefconfigs(mine, theirs), nil
}

func readOther(r Request, other string, flavors flavor.Inventory) ([]byte, error) {
	if f, err := flavors.Find(other); err == nil {
		r.Flavor = f
		return readDefconfig(r)
	}
	text, err := bounded.ReadFile(other, bounded.Small)
	if err != nil {
		return nil, fault.Usagef("comparing with %q: it is neither a flavor nor a file that can be read: %w", other, err)
	}
	return text, nil
}
