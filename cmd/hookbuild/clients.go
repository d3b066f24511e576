package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/cache"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/linuxkit/size"
)

// cacheDir returns the directory of --cache-dir or its default.
func (a *app) cacheDir(c *cli.Context) (string, error) {
	dir := c.String("cache-dir")
	if !c.IsSet("cache-dir") {
		dir = a.variablePath(c, "CACHE_DIR")
	}
	if dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w; set --cache-dir DIR", err)
	}
	return filepath.Join(base, "hookbuild"), nil
}

func (a *app) openCache(c *cli.Context) (*cache.Cache, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return nil, err
	}
	if a.store, err = cache.Open(dir, a.sink()); err != nil {
		return nil, err
	}
	return a.store, a.share(c, a.store)
}

func (a *app) newClient(c *cli.Context, store *cache.Cache) (*oci.Client, error) {
	return a.newClientWithin(c, store, web.Limits{})
}

// newClientWithin returns a client with other limits than the default ones.
func (a *app) newClientWithin(c *cli.Context, store *cache.Cache, limits web.Limits) (*oci.Client, error) {
	mirrors, err := a.mirrors(c)
	if err != nil {
		return nil, err
	}
	keychain, err := a.keychain(c)
	if err != nil {
		return nil, err
	}
	most, err := maxLayer(c)
	if err != nil {
		return nil, err
	}
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	if limits != (web.Limits{}) {
		client = client.WithLimits(limits)
	}
	return oci.NewClient(oci.Options{
		Web: client, Keychain: keychain, Cache: store, Mirrors: mirrors, MirrorByTag: c.Bool("mirror-by-tag"), Insecure: c.StringSlice("insecure-registry"),
		Offline: c.Bool("offline"), Jobs: c.Int("jobs"), Progress: a.sink(),
		MostUnpacked: most, Archives: &a.archives,
	}), nil
}

// maxLayer returns --max-layer in bytes; 0 means the default limit.
func maxLayer(c *cli.Context) (int64, error) {
	text := c.String("max-layer")
	if text == "" {
		return 0, nil
	}
	most, err := size.Parse(text)
	if err != nil {
		return 0, usagef("--max-layer: %v", err)
	}
	return most, nil
}

func parseMirrors(c *cli.Context) ([]oci.Mirror, error) {
	var mirrors []oci.Mirror
	for _, m := range c.StringSlice("mirror") {
		from, to, ok := strings.Cut(m, "=")
		if strings.ContainsAny(m, "@?#") || strings.Contains(m, "://") { // not shown: it may have a password
			return nil, usagef("--mirror takes names of registries (FROM=TO), such as public.ecr.aws=mirror.example:443/ecr, and not URLs, logins or queries; log in with docker login")
		}
		if !ok || from == "" || to == "" {
			return nil, usagef("--mirror %q is not of the form FROM=TO, such as public.ecr.aws=mirror.example:443", m)
		}
		mirrors = append(mirrors, oci.Mirror{From: from, To: to})
	}
	return mirrors, nil
}

// newBuilder returns a Builder with the cache, the client and the options of all
// builds.
func (a *app) newBuilder(c *cli.Context) (*build.Builder, error) {
	store, err := a.openCache(c)
	if err != nil {
		return nil, err
	}
	client, err := a.newClient(c, store)
	if err != nil {
		return nil, err
	}
	salt, err := salt()
	return &build.Builder{
		Cache: store, Client: client, Engine: dockerhost.Connect, Progress: a.sink(), Jobs: c.Int("jobs"),
		Offline: c.Bool("offline"), Kit: a.kit != nil, Version: version(), Salt: salt, Web: a.web,
	}, err
}
