package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/test/corpus"
	"hookbuild/test/testneed"
)

// secondAct locks what was built, saves a kit of it, and builds the same bytes
// again in a network namespace without interfaces, with an empty cache. It returns the
// kit's path, "" if it was left out.
func (d *demo) secondAct(ctx context.Context, registry *corpus.Registry, bundle string) (kit string, err error) {
	alone := testneed.Unshare()
	if said, err := exec.CommandContext(ctx, alone[0], append(alone[1:], "true")...).CombinedOutput(); err != nil {
		fmt.Fprintf(d.w, "\nThe same build without a network is left out, which is no failure: it needs root or user namespaces (%s: %s).\n", strings.Join(alone, " "), strings.TrimSpace(fmt.Sprint(err, " ", string(said))))
		return "", nil
	}
	at := func(name string) string { return filepath.Join(d.work, name+"-"+d.arch) }
	kit = at("kit") + ".tar"
	lockFile, out, cache := at("hookbuild.lock"), at("out-offline"), at("cache-offline")
	if err := errors.Join(os.RemoveAll(lockFile), os.RemoveAll(kit), os.RemoveAll(out), os.RemoveAll(cache)); err != nil {
		return "", err
	}
	common := []string{"--lock-file", lockFile, "--hook-dir", d.checkout, "--progress", "plain"}
	err = d.step("Lock everything that went in, and save it in one file", func() (string, error) {
		err := d.tell(ctx, registry, nil, append([]string{"lock", "--lock-file", lockFile}, d.choices(registry, bundle)...)...)
		if err == nil {
			err = d.tell(ctx, registry, nil, append([]string{"kit", "save", "-o", kit, "--insecure-registry", registry.Addr(), "--cache-dir", filepath.Join(d.work, "cache")}, common...)...)
		}
		return "kit " + sizeOf(kit), err
	})
	if err != nil {
		return "", err
	}
	return kit, d.step("Build it again without a network, from the lock and the kit, with an empty cache", func() (string, error) {
		args := append([]string{"all", "--locked", "--kit", kit, "--out", out, "--cache-dir", cache}, common...)
		if err := d.tell(ctx, registry, alone, args...); err != nil {
			return "", err
		}
		return "the same two files, byte for byte", errors.Join(d.same(ctx, out, "vmlinuz"), d.same(ctx, out, "initramfs"), os.RemoveAll(cache))
	})
}

// same compares an artifact with that of the first act.
func (d *demo) same(ctx context.Context, out, name string) error {
	first := d.artifact(name)
	want, err := digest.OfFile(ctx, first)
	if err != nil {
		return err
	}
	got, err := digest.OfFile(ctx, filepath.Join(out, "hook", filepath.Base(first)))
	if err == nil && got != want {
		err = fmt.Errorf("%s is another one than with the network: %s and %s", filepath.Base(first), got, want)
	}
	return err
}
