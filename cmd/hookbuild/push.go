package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/ship"
	"hookbuild/internal/oci"
	"hookbuild/internal/words"
	"hookbuild/site/lock"
)

func newPushCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "push",
		Usage:       "push a HookOS to a registry, and print its reference by digest",
		Description: "Kubernetes can mount what was pushed as an image volume; pull, serve and matrix take it too.",
		ArgsUsage:   "[DIR] REF",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "by-lock", Usage: "push to the repository REF, under a tag made of " + lock.Name + " that matrix --hookos looks for"},
			&cli.StringSliceFlag{Name: "annotation", Usage: "add the annotation `KEY=VALUE` to what is pushed (repeatable)"},
		},
		Action: a.push,
	}
}

func newPullCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "pull a HookOS from a registry, verified",
		ArgsUsage: "REF [DIR]",
		Action:    a.pull,
	}
}

func (a *app) push(c *cli.Context) error {
	dir, ref := c.String("out"), c.Args().First()
	switch c.NArg() {
	case 1:
	case 2:
		dir, ref = c.Args().First(), c.Args().Get(1)
	default:
		return usagef("push takes a reference, or a directory and a reference: hookbuild push out registry.example/hookos:v1")
	}
	if c.Bool("offline") {
		return usagef("push sends to a registry; leave out --offline")
	}
	if info, err := os.Stat(ref); err == nil && info.IsDir() {
		return usagef("push: %q is a directory; add the reference to push it to: hookbuild push %s registry.example/hookos:v1", ref, ref)
	}
	if err := oci.CheckRegistry(ref); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return err
	}
	annotations, err := annotations(c.StringSlice("annotation"))
	if err != nil {
		return err
	}
	hookos, err := ship.Open(dir)
	if err != nil {
		return err
	}
	o := ship.PushOptions{Arch: arch, Annotations: annotations, Progress: a.sink()}
	if o.Remote, err = a.remote(c); err != nil {
		return err
	}
	if c.Bool("by-lock") {
		return a.pushByLock(c, hookos, ref, o)
	}
	return a.pushTo(c, hookos, ref, o)
}

// pushByLock pushes each architecture to the repository, under the tag of its lock.
func (a *app) pushByLock(c *cli.Context, hookos *ship.HookOS, repository string, o ship.PushOptions) error {
	if _, err := o.Remote.ParseRepository(repository); err != nil {
		return err
	}
	tags, err := hookos.LockTags(o.Arch)
	if err != nil {
		return err
	}
	for _, arch := range slices.Sorted(maps.Keys(tags)) {
		o.Arch = arch
		if err := a.pushTo(c, hookos, repository+":"+tags[arch], o); err != nil {
			return err
		}
	}
	return nil
}

// remote returns how registries are written to.
func (a *app) remote(c *cli.Context) (oci.Remote, error) {
	keychain, err := a.keychain(c)
	if err != nil {
		return oci.Remote{}, err
	}
	client, err := a.webClient(c)
	return oci.Remote{Web: client, Insecure: c.StringSlice("insecure-registry"), Keychain: keychain}, err
}

func (a *app) pushTo(c *cli.Context, hookos *ship.HookOS, ref string, o ship.PushOptions) error {
	pushed, err := hookos.Push(c.Context, ref, o)
	if err != nil {
		return err
	}
	if len(pushed.Attached) == 0 {
		a.note("no SBOM is attached; `hookbuild sbom` writes one, and another push attaches it")
	}
	_, err = fmt.Fprintln(a.results(), strings.Join(pushed.References, "\n"))
	return err
}

// annotations parses KEY=VALUE.
func annotations(list []string) (map[string]string, error) {
	all := map[string]string{}
	for _, one := range list {
		key, value, ok := strings.Cut(one, "=")
		if !ok || key == "" {
			return nil, usagef("--annotation %q is not KEY=VALUE", one)
		}
		all[key] = value
	}
	return all, nil
}

func (a *app) pull(c *cli.Context) error {
	if n := c.NArg(); n < 1 || n > 2 {
		return usagef("pull takes a reference and a directory: hookbuild pull registry.example/hookos:v1 hookos")
	}
	if c.Bool("offline") {
		return usagef("pull fetches from a registry; leave out --offline")
	}
	ref := c.Args().First()
	if err := oci.CheckRegistry(ref); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	o, err := a.pullOptions(c)
	if err != nil {
		return err
	}
	dir := orDefault(c.Args().Get(1), filepath.Join(c.String("out"), artifact.DefaultName))
	pulled, err := ship.Pull(c.Context, ref, dir, o)
	if err != nil {
		return err
	}
	if len(pulled.Attached) == 0 {
		a.note("no SBOM is attached; `hookbuild sbom` writes one")
	}
	if pulled.Replaced {
		a.note("replaced the HookOS in %s", dir)
	}
	a.note("pulled %s into %s: %s, each verified by its digest or checksum", pulled.Digest, dir, words.Count(len(pulled.Files), "file"))
	return nil
}

// pullOptions returns the options with which a HookOS is fetched from a registry.
func (a *app) pullOptions(c *cli.Context) (o ship.PullOptions, err error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return o, err
	}
	store, err := a.openCache(c)
	if err != nil {
		return o, err
	}
	client, err := a.newClient(c, store)
	return ship.PullOptions{Client: client, Arch: arch, Progress: a.sink()}, err
}
