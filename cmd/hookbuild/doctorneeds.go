package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/doctor"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel/plan"
	"hookbuild/kernel/source"
)

// bundleRegistry has the images of AWS's bundles.
const bundleRegistry = "public.ecr.aws/eks-anywhere"

// addNeeds adds the registries and servers that the build of the options needs to o,
// and to known which commands' needs those are.
func (a *app) addNeeds(c *cli.Context, o *doctor.Options, known *checked) error {
	mirrors, err := a.mirrors(c)
	if err != nil {
		return err
	}
	if !o.Described {
		addRegistry(o, mirrors, orDefault(a.variable("HOOK_KERNEL_OCI_BASE"), plan.Repository), nil, buildCommands("kernel"))
		containers := orDefault(a.variable("HOOK_LK_CONTAINERS_OCI_BASE"), build.DefaultContainersBase)
		addRegistry(o, mirrors, containers, nil, append(buildCommands("containers"), "containers"))
		addRegistry(o, mirrors, bundleRegistry, nil, buildCommands("embedded"))
		o.Servers, o.Bundle = []doctor.Server{releasesServer(""), kernelServer()}, true
		known.leave(append(buildCommands("kernel"), "embed"), "the images of your build: name a flavor, or write hookbuild.yaml")
		return nil
	}
	needs, r, err := a.buildNeeds(c, o, mirrors)
	if err != nil {
		return err
	}
	known.learn(o, r.Embed)
	if o.Offline {
		return nil
	}
	store, err := a.openCache(c)
	if err != nil {
		return err
	}
	client, err := a.newClient(c, store)
	if err != nil {
		return err
	}
	for _, n := range needs {
		commands := buildCommands(n.For)
		switch {
		case n.URL != "":
			addServer(o, doctor.Server{Name: web.Show(n.URL), URL: n.URL, File: n.File, Breaks: "fetching the " + n.For, Commands: commands})
		case n.Repository != "":
			addRegistry(o, mirrors, n.Repository, &doctor.Wanted{Name: n.Repository, Ask: func(ctx context.Context) (doctor.Size, error) {
				_, err := client.Tags(ctx, n.Repository)
				return doctor.Size{}, err
			}}, commands)
		default:
			addRegistry(o, mirrors, n.Image, &doctor.Wanted{Name: n.Image, Embedded: n.For == "embedded", Ask: func(ctx context.Context) (doctor.Size, error) {
				image, err := client.Image(ctx, n.Image, v1.Platform{OS: "linux", Architecture: r.Flavor.DockerArch()})
				if n.Own && oci.IsMissing(err) {
					known.built(n.Image)
					return doctor.Size{}, nil
				}
				if err != nil {
					return doctor.Size{}, err
				}
				return sizeOf(ctx, image)
			}}, commands)
		}
	}
	return nil
}

// sizeOf returns the size of an image's layers.
func sizeOf(ctx context.Context, image *oci.Image) (size doctor.Size, err error) {
	parts, err := image.Parts(ctx)
	for _, p := range parts {
		size.All += p.Size
		if !p.Cached {
			size.Fetch += p.Size
		}
	}
	return size, err
}

// describesBuild reports whether a flavor, an option of all or hookbuild.yaml says
// what is built.
func (a *app) describesBuild(c *cli.Context) bool {
	return a.site != nil || c.NArg() > 0 || slices.ContainsFunc(allFlags(), func(f cli.Flag) bool { return c.IsSet(f.Names()[0]) })
}

// buildNeeds returns what the build fetches, without asking for it, and the build.
func (a *app) buildNeeds(c *cli.Context, o *doctor.Options, mirrors []oci.Mirror) ([]build.Need, build.Request, error) {
	r, err := a.request(c)
	if err != nil {
		return nil, r, err
	}
	if wantsImages(c) {
		if r.Embed, err = a.embedNeeds(c, o, mirrors); err != nil {
			return nil, r, err
		}
	}
	needs, compiles, err := r.Needs(c.Context)
	o.Compiles = compiles
	return needs, r, err
}

// embedNeeds returns the images to embed as far as files of this machine name them,
// and adds the servers that name the rest.
func (a *app) embedNeeds(c *cli.Context, o *doctor.Options, mirrors []oci.Mirror) (*onboard.Embed, error) {
	list, err := imageList(c)
	if err != nil {
		return nil, err
	}
	e := &onboard.Embed{
		List: list, WorkerFrom: c.String("worker-from"),
		Options: bundles.Options{WorkerImage: c.String("worker-image"), NoWorker: c.Bool("no-worker"), KubeVersion: c.String("kube-version")},
	}
	if !c.Bool("embed-from-bundle") && !namesBundle(c) {
		return e, nil
	}
	location := cmp.Or(c.String("bundle"), c.String("releases-url"))
	switch {
	case web.IsURL(location), location == "":
		o.Servers = append(o.Servers, releasesServer(location))
	case c.IsSet("bundle"):
		resolver := &bundles.Resolver{Offline: true, Progress: a.sink()}
		e.Bundle, err = resolver.Load(c.Context, bundles.Ref{Bundle: location})
		return e, err
	}
	o.Bundle = true
	addRegistry(o, mirrors, bundleRegistry, nil, buildCommands("embedded"))
	return e, nil
}

func releasesServer(url string) doctor.Server {
	return doctor.Server{
		Name: "EKS Anywhere releases", URL: cmp.Or(url, bundles.ReleasesURL), Breaks: "images, all --embed-from-bundle and embed --from-bundle without --bundle FILE",
		Commands: append(buildCommands("embedded"), "images"),
	}
}

func kernelServer() doctor.Server {
	return doctor.Server{
		Name: "kernel.org", URL: source.ReleasesURL, Breaks: "kernel and kernel-config without --source",
		Commands: []string{"kernel", "kernel-config", "kernel-config-shell"},
	}
}

// buildCommands returns the commands that fetch what is for a part of a HookOS.
func buildCommands(part string) []string {
	commands := []string{"all", "plan", "lock", "kit"}
	if part == "embedded" {
		return append(commands, "embed")
	}
	return append(commands, "linuxkit", "qemu")
}

func addServer(o *doctor.Options, s doctor.Server) {
	if !slices.ContainsFunc(o.Servers, func(have doctor.Server) bool { return have.URL == s.URL }) {
		o.Servers = append(o.Servers, s)
	}
}

// addRegistry adds the registry of a reference, behind the mirrors, and what is
// wanted there.
func addRegistry(o *doctor.Options, mirrors []oci.Mirror, ref string, wanted *doctor.Wanted, commands []string) {
	host := mirrored(ref, mirrors)
	at := slices.IndexFunc(o.Registries, func(r doctor.Registry) bool { return r.Host == host })
	if at < 0 {
		at = len(o.Registries)
		o.Registries = append(o.Registries, doctor.Registry{Host: host})
	}
	r := &o.Registries[at]
	if wanted != nil {
		r.Wanted = append(r.Wanted, *wanted)
	}
	for _, name := range commands {
		if !slices.Contains(r.Commands, name) {
			r.Commands = append(r.Commands, name)
		}
	}
}

// mirrored returns the host that a reference is pulled from.
func mirrored(ref string, mirrors []oci.Mirror) string {
	full := strings.TrimSuffix(ref, "/")
	if parsed, err := name.ParseReference(full); err == nil {
		full = parsed.Context().Name()
	}
	best := oci.Mirror{}
	for _, m := range mirrors {
		if (full == m.From || strings.HasPrefix(full, m.From+"/")) && len(m.From) > len(best.From) {
			best = m
		}
	}
	host, _, _ := strings.Cut(cmp.Or(best.To, full), "/")
	return host
}
