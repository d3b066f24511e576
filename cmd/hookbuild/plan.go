package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/site/lock"
)

func newPlanCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "print what all would do, and build and write nothing",
		Description: "Plan takes the options of all. It fetches manifests and configurations of images and lists of releases, but no layers, " +
			"and prints which versions and digests all would use, what the cache has, and what all would download, compile and write. " +
			"Sources of modules are fetched, because the kernel's name depends on them.",
		ArgsUsage: "[FLAVOR]",
		Flags:     concat([]cli.Flag{jsonFlag()}, allFlags(), lockFlags()),
		Action:    a.plan,
	}
}

func (a *app) plan(c *cli.Context) error {
	all := []*build.Forecast{}
	err := a.eachBuild(c, func(c *cli.Context) error {
		f, err := a.forecast(c)
		all = append(all, f)
		return err
	})
	if err != nil {
		return err
	}
	out := a.results()
	if c.Bool("json") {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	for i, f := range all {
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return fault.Outsidef("printing the plan: %w", err)
			}
		}
		if err := a.printTable(a.planTable(f)); err != nil {
			return fault.Outsidef("printing the plan: %w", err)
		}
	}
	return nil
}

// forecast returns what all would do with the options of c.
func (a *app) forecast(c *cli.Context) (*build.Forecast, error) {
	r, err := a.request(c)
	if err != nil {
		return nil, err
	}
	if err := r.Check(c.Context); err != nil {
		return nil, err
	}
	if err := a.completeRequest(c, &r); err != nil {
		return nil, err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return nil, err
	}
	f, err := b.Forecast(c.Context, r)
	if err != nil {
		return nil, err
	}
	if c.Bool("offline") && a.kit == nil && f.Download.Parts > 0 {
		progress.Warnf(a.sink(), "--offline: the cache lacks %s that %s needs; fetch them once without --offline", words.Count(f.Download.Parts, "layer"), f.Flavor)
	}
	return f, nil
}

// planTable returns a forecast as text: what goes in, by digest, then what is done.
func (a *app) planTable(f *build.Forecast) *words.Table {
	t := &words.Table{}
	t.Row("flavor", f.Flavor+" for "+f.Arch)
	planKernel(t, f.Kernel)
	t.Row("template", f.Template.Name, f.Template.Digest)
	if b := f.Bundle; b != nil {
		t.Row("bundle", strings.TrimSpace(b.Release+" "+b.Location), b.Digest)
	}
	for _, file := range f.Files {
		t.Row("file", file.Name, known(file.Digest))
	}
	for _, image := range f.Images {
		t.Row(a.planImage(image)...)
	}
	cached := amount(f.Cached)
	if f.Cached.Parts > 0 {
		cached += ", which are not fetched again"
	}
	t.Row("in the cache", cached)
	download := amount(f.Download)
	if len(f.Build) > 0 {
		download += " apart from what building downloads"
	}
	t.Row(a.fetchVerb(), download)
	for _, s := range f.Shared {
		t.Row("shared cache", words.Bytes(s.Bytes)+" for the "+s.What+", from "+s.From)
	}
	for _, step := range f.Build {
		t.Row("compile", step.What, step.Why)
	}
	if len(f.Build) == 0 {
		t.Row("compile", "nothing")
	}
	for _, path := range f.Write {
		t.Row("write", path)
	}
	for _, what := range f.NotKnown {
		t.Row("not known", what)
	}
	return t
}

// fetchVerb returns what happens to the layers that the cache lacks.
func (a *app) fetchVerb() string {
	if a.kit != nil {
		return "take from the kit"
	}
	return "download"
}

func planKernel(t *words.Table, k build.ForecastKernel) {
	version := "Linux, version not known"
	if k.Version != "" {
		version = "Linux " + k.Version + " (" + k.VersionFrom + ")"
	}
	switch {
	case k.Source != nil:
		t.Row("kernel", version+", compiled as "+k.Reference)
		t.Row("kernel source", k.Source.Name, known(k.Source.Digest))
		if k.Published != nil && *k.Published {
			t.Row("note", k.Reference+" exists already; --kernel image:"+k.Reference+" uses it and compiles nothing")
		}
	case k.Reference != "": // the images have its digest
		t.Row("kernel", version)
	default:
		t.Row("kernel", version+", in "+kernelOrigin(k.From))
	}
	if k.Builder != nil {
		t.Row("builder image", k.Builder.Name, known(k.Builder.Digest))
	}
}

// kernelOrigin describes where a kernel that is not an image comes from.
func kernelOrigin(from string) string {
	switch from {
	case lock.FromPackages:
		return "a distribution's packages"
	case lock.FromDirectory:
		return "a directory"
	case lock.FromDocument:
		return "the image that the document names"
	}
	return from
}

// planImage returns the row of an image.
func (a *app) planImage(image build.ForecastImage) []string {
	what, id := image.For+" image", image.Digest
	if id == "" {
		id = image.ID
	}
	var state []string
	if image.Digest == "" {
		state = append(state, "on this machine")
	}
	if image.Digest != "" && image.Download.Parts > 0 {
		state = append(state, a.fetchVerb()+" "+amount(image.Download))
	}
	if image.Digest != "" && image.Cached.Parts > 0 {
		state = append(state, amount(image.Cached)+" in the cache")
	}
	cells := []string{what, strings.TrimSuffix(image.Reference, "@"+image.Digest), known(id), strings.Join(state, ", ")}
	if len(image.As) > 0 {
		cells = append(cells, "as "+strings.Join(image.As, ", "))
	}
	return cells
}

func amount(a build.Amount) string {
	if a.Parts == 0 {
		return "nothing"
	}
	return words.Bytes(a.Bytes) + " in " + words.Count(a.Parts, "file")
}

// known returns a digest, or words for one that is not known.
func known(digest string) string { return orDefault(digest, "digest not known") }
