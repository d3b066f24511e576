package main

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/fetch"
	"hookbuild/site/checkout"
)

// workspace returns the Hook checkout: that of --hook-dir, else the one that
// hookbuild.yaml names, else the nearest one. The kit's stands in for one that is not
// there or may not be read, unless the command line names it.
func (a *app) workspace(c *cli.Context) (build.Workspace, error) {
	dir := c.String("hook-dir")
	if dir == "" && a.namesCheckout() {
		fetched, err := a.fetchCheckout(c)
		if err != nil {
			return build.Workspace{}, err
		}
		dir = fetched.Dir
	}
	w, err := build.OpenWorkspace(dir, ".")
	lacking := err != nil && (dir == "" || a.fromSite("hook-dir") && (errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist)))
	if lacking && a.kept != nil && a.kept.Checkout != "" {
		return build.OpenWorkspace(a.kept.Checkout, ".")
	}
	if err != nil && dir == "" && c.IsSet("kit") && a.kept == nil {
		return w, usagef("finding the Hook checkout: neither the current directory nor a parent is one; add --locked to use the checkout and the lock in --kit, or name a checkout with --hook-dir DIR")
	}
	return w, err
}

// wantsCheckout reports whether an option or hookbuild.yaml names a checkout, so
// that one that cannot be opened is an error.
func (a *app) wantsCheckout(c *cli.Context) bool {
	return c.String("hook-dir") != "" || a.namesCheckout()
}

// namesCheckout reports whether hookbuild.yaml names a checkout to fetch.
func (a *app) namesCheckout() bool {
	return a.site != nil && a.site.Hook.URL+a.site.Hook.Archive != ""
}

// isFetched reports whether the checkout is one that hookbuild fetched, whose
// files are those of an archive.
func (a *app) isFetched(c *cli.Context) bool {
	return c.String("hook-dir") == "" && a.namesCheckout()
}

func (a *app) fetchCheckout(c *cli.Context) (*checkout.Checkout, error) {
	if a.checkout != nil {
		return a.checkout, nil
	}
	store, err := a.openCache(c)
	if err != nil {
		return nil, err
	}
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	a.checkout, err = checkout.Fetch(c.Context, a.checkoutSource(), fetch.Options{Cache: store, Web: client, Offline: c.Bool("offline"), Progress: a.sink()})
	return a.checkout, err
}

// checkoutSource returns what hookbuild.yaml says of the checkout, with the
// checksum that the lock has for it.
func (a *app) checkoutSource() checkout.Source {
	h := a.site.Hook
	source := checkout.Source{Archive: a.site.Archive(), URL: h.URL, Commit: h.Commit, SHA256: h.SHA256}
	if a.locked == nil || source.SHA256 != "" {
		return source
	}
	for _, f := range a.locked.Files {
		if f.Name == source.String() {
			source.SHA256 = strings.TrimPrefix(f.SHA256, "sha256:")
		}
	}
	return source
}
