package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/internal/shared"
	"hookbuild/internal/web"
)

// checkShared checks the repositories of --cache-from and --cache-to.
func checkShared(c *cli.Context) error {
	repositories := c.StringSlice("cache-from")
	if c.IsSet("cache-to") {
		repositories = append(repositories, c.String("cache-to"))
	}
	for _, repository := range repositories {
		if err := shared.Check(repository); err != nil {
			return err
		}
	}
	return nil
}

// share makes the cache use the registries of --cache-from and --cache-to. With
// --offline and --kit no registry is asked.
func (a *app) share(c *cli.Context, store *cache.Cache) error {
	from, to := c.StringSlice("cache-from"), c.String("cache-to")
	if len(from) == 0 && to == "" {
		return nil
	}
	for _, option := range []string{"offline", "kit"} {
		if c.Bool(option) || len(c.StringSlice(option)) > 0 {
			if !a.unshared {
				a.note("--%s: the shared cache is not used", option)
			}
			a.unshared = true
			return nil
		}
	}
	if a.shared == nil {
		// A registry that fails is to cost little time: everything in it can be made.
		limits := web.Limits{Connect: 5 * time.Second, Header: 20 * time.Second, Idle: 10 * time.Second, Tries: 3, Patience: 10 * time.Second}
		client, err := a.newClientWithin(c, store, limits)
		if err != nil {
			return err
		}
		keychain, err := a.keychain(c)
		if err != nil {
			return err
		}
		a.shared = shared.New(shared.Options{
			Client: client, Remote: oci.Remote{Web: a.web, Insecure: c.StringSlice("insecure-registry"), Keychain: keychain, Limits: limits},
			From: from, To: to, Progress: a.sink(),
		})
	}
	store.WithRemote(a.shared)
	return nil
}

// leaveCache ends the use of the cache: it reports how the shared cache was used,
// pushes new results to --cache-to, even if the command failed later, and trims the
// cache.
func (a *app) leaveCache(c *cli.Context) error {
	if text := a.sharedSummary(); text != "" {
		a.note("%s", text)
	}
	if a.shared != nil && c.Context.Err() == nil {
		if err := a.shared.Push(c.Context); err != nil {
			return err
		}
	}
	return a.trimCache(c)
}

// sharedSummary returns how many results came from the shared cache, or "".
func (a *app) sharedSummary() string {
	if a.shared == nil {
		return ""
	}
	return a.shared.Summary()
}
