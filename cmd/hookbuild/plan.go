package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
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
		if err := a.printForecast(out, f); err != nil {
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

// printForecast prints a forecast as text. What registries and files say is on
// one line each.
func (a *app) printForecast(out io.Writer, f *build.Forecast) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := planPrinter{tw}
	p.row("flavor", f.Flavor+" for "+f.Arch)
	p.row("template", f.Template.Name, f.Template.Digest)
	if b := f.Bundle; b != nil {
		p.row("bundle", strings.TrimSpace(b.Release+" "+b.Location), b.Digest)
	}
	p.kernel(f.Kernel)
	for _, file := range f.Files {
		p.row("file", file.Name, known(file.Digest))
	}
	for _, image := range f.Images {
		p.image(image, a.fetchVerb())
	}
	p.row("cached", amount(f.Cached))
	download := amount(f.Download)
	if len(f.Build) > 0 {
		download += " apart from what building downloads"
	}
	p.row(a.fetchVerb(), download)
	for _, s := range f.Shared {
		p.row("shared", words.Bytes(s.Bytes)+" for the "+s.What+" from the shared cache "+s.From)
	}
	for _, step := range f.Build {
		p.row("build", step.What, step.Why)
	}
	for _, path := range f.Write {
		p.row("write", path)
	}
	for _, what := range f.NotKnown {
		p.row("not known", what)
	}
	return tw.Flush()
}

// fetchVerb returns what happens to the layers that the cache lacks.
func (a *app) fetchVerb() string {
	if a.kit != nil {
		return "take from the kit"
	}
	return "download"
}

// planPrinter writes a plan's rows. Errors come from the tabwriter's Flush.
type planPrinter struct{ w *tabwriter.Writer }

func (p planPrinter) row(cells ...string) {
	printRow(p.w, cells...)
}

func (p planPrinter) kernel(k build.ForecastKernel) {
	switch {
	case k.Source != nil:
		p.row("kernel", "Linux "+k.Release+", compiled as "+k.Reference)
		p.row("source", k.Source.Name, known(k.Source.Digest))
		if k.Published != nil && *k.Published {
			p.row("", k.Reference+" exists already; --kernel image:"+k.Reference+" uses it and compiles nothing")
		}
	case k.Reference != "":
		p.row("kernel", k.From+" "+k.Reference, known(k.Digest))
	default:
		p.row("kernel", "from "+k.From)
	}
	if k.Builder != nil {
		p.row("builder image", k.Builder.Name, known(k.Builder.Digest))
	}
}

func (p planPrinter) image(image build.ForecastImage, verb string) {
	id := image.Digest
	if id == "" {
		id = image.ID
	}
	state := "cached"
	switch {
	case image.Digest == "":
		state = "on this machine"
	case image.Download.Parts > 0 && image.Cached.Parts > 0:
		state = verb + " " + amount(image.Download) + ", cached " + amount(image.Cached)
	case image.Download.Parts > 0:
		state = verb + " " + amount(image.Download)
	}
	cells := []string{image.For + " image", image.Reference, known(id), state}
	if len(image.As) > 0 {
		cells = append(cells, "as "+strings.Join(image.As, ", "))
	}
	p.row(cells...)
}

func amount(a build.Amount) string {
	if a.Parts == 0 {
		return "nothing"
	}
	return words.Bytes(a.Bytes) + " in " + words.Count(a.Parts, "file")
}

// known returns a digest, or words for one that is not known.
func known(digest string) string { return orDefault(digest, "digest not known") }
