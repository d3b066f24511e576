package build

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	"hookbuild/kernel/flavor"
	"hookbuild/site/lock"
)

// Forecast says what a build would do, as far as that is known before it is
// done.
type Forecast struct {
	Flavor string          `json:"flavor"`
	Arch   string          `json:"arch"` // amd64 or arm64
	Bundle *ForecastBundle `json:"bundle,omitempty"`
	Kernel ForecastKernel  `json:"kernel"`
	// Template and Files are the files that are read.
	Template ForecastFile    `json:"template"`
	Files    []ForecastFile  `json:"files"`
	Images   []ForecastImage `json:"images"`
	// Cached and Download count the parts of all images. A part of several
	// images counts once.
	Cached   Amount `json:"cached"`
	Download Amount `json:"download"`
	// Shared lists what is known to come from the shared cache.
	Shared []ForecastShared `json:"shared,omitempty"`
	// Build lists what is built in the Docker Engine.
	Build []ForecastStep `json:"build"`
	// Write lists the paths of the files that are written.
	Write []string `json:"write"`
	// NotKnown lists what the build finds out only while it runs.
	NotKnown []string `json:"notKnown"`
}

// ForecastBundle is the EKS Anywhere bundle that names images.
type ForecastBundle struct {
	Release  string `json:"release,omitempty"`
	Number   int    `json:"number,omitempty"`
	Location string `json:"location"`
	Digest   string `json:"digest"`
}

// ForecastKernel is the kernel. From is as in [lock.Kernel].
type ForecastKernel struct {
	From string `json:"from"`
	// Version is the kernel's version, such as "6.6.32", empty if it is not known
	// before the kernel is opened. VersionFrom says in words what it is known from.
	Version     string `json:"version,omitempty"`
	VersionFrom string `json:"versionFrom,omitempty"`
	// Reference is the image, or the name that a compiled kernel has in the
	// template. Release is that of a kernel which is compiled.
	Reference string `json:"reference,omitempty"`
	Release   string `json:"release,omitempty"`
	Digest    string `json:"digest,omitempty"`
	// Source is the archive that is compiled. Builder is the builder image, also of
	// modules for another kernel.
	Source  *ForecastFile `json:"source,omitempty"`
	Builder *ForecastFile `json:"builder,omitempty"`
	// Published reports that an image named Reference exists, so that nothing
	// would have to be compiled. It is nil if that is not known.
	Published *bool `json:"published,omitempty"`
}

// ForecastFile is a file. Digest is empty if it is not known.
type ForecastFile struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
}

func forecastFile(i lock.Input) ForecastFile { return ForecastFile{i.Name, i.SHA256} }

// ForecastImage is an image.
type ForecastImage struct {
	// For says what the image is for.
	For       string `json:"for"`
	Reference string `json:"reference"`
	// Digest is that of the image in its registry. An image that is not in one
	// has an ID only.
	Digest string `json:"digest,omitempty"`
	ID     string `json:"id,omitempty"`
	// As are the names under which an image is embedded.
	As []string `json:"as,omitempty"`
	// Cached and Download count the parts that come from a registry.
	Cached   Amount `json:"cached"`
	Download Amount `json:"download"`
}

// Amount is a number of files and the sum of their sizes, as a registry sends
// them.
type Amount struct {
	Parts int   `json:"parts"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(p oci.Part) {
	a.Parts++
	a.Bytes += p.Size
}

// ForecastStep is something that is built, and why.
type ForecastStep struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ForecastShared is a result that is taken from the shared cache.
type ForecastShared struct {
	What string `json:"what"`
	// From is the repository.
	From  string `json:"from"`
	Bytes int64  `json:"bytes"`
}

// Forecast finds out what [Builder.HookOS] would do. It fetches manifests and
// configurations of images and lists of releases, and builds nothing.
func (b *Builder) Forecast(ctx context.Context, r Request) (*Forecast, error) {
	if err := r.fillDefaults(); err != nil {
		return nil, err
	}
	looking := *b
	if r.Locked != nil {
		locked, pinned, err := b.Lock(r, *r.Locked, nil)
		if err != nil {
			return nil, err
		}
		looking, r = *locked, pinned
	}
	looking.survey = true
	if c := &r.KernelOptions.Container; c.Pin == nil { // so that no engine builds or pulls one
		c.Pin = &container.Pin{Name: c.BuilderName()}
	}
	found, err := looking.Resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	f := &forecaster{Resolved: found, b: &looking, counted: map[v1.Hash]bool{}}
	return f.forecast(ctx)
}

// forecaster makes a forecast of what was found.
type forecaster struct {
	*Resolved
	b       *Builder
	out     Forecast
	counted map[v1.Hash]bool
}

func (f *forecaster) forecast(ctx context.Context) (*Forecast, error) {
	r, l := f.Request, f.Lock()
	f.out = Forecast{
		Flavor: r.Flavor.ID, Arch: r.Flavor.DockerArch(), Template: forecastFile(l.Template),
		Files: []ForecastFile{}, Images: []ForecastImage{}, Build: []ForecastStep{}, Write: r.outputs(),
		NotKnown: []string{"the sizes of the files that are written"},
	}
	if bundle := l.Bundle; bundle != nil {
		f.out.Bundle = &ForecastBundle{Release: bundle.Release, Number: bundle.Number, Location: bundle.Location, Digest: bundle.SHA256}
	}
	for _, file := range l.Files {
		f.out.Files = append(f.out.Files, forecastFile(file))
	}
	slices.SortFunc(f.out.Files, func(a, b ForecastFile) int { return strings.Compare(a.Name, b.Name) })
	if err := f.addKernel(ctx, l.Kernel); err != nil {
		return nil, err
	}
	if err := f.addImages(ctx); err != nil {
		return nil, err
	}
	if err := f.addShared(ctx); err != nil {
		return nil, err
	}
	for _, c := range f.unbuilt {
		f.out.Build = append(f.out.Build, ForecastStep{"container " + c.Name + " as " + c.Reference, c.why.Error()})
		f.unknown("the digest of %s and what building it downloads", c.Reference)
	}
	f.checkEngines(ctx)
	f.addWorker()
	if f.base != nil && f.base.document != nil {
		for _, name := range f.base.document.EditedElsewhere() {
			f.unknown("whether an image has the file %s, whose text is to be changed", name)
		}
	}
	if r.Flavor.Arch == flavor.AArch64 {
		f.unknown("whether the kernel has device trees, which become dtbs-%s.tar.gz", r.OutputID)
	}
	if r.Locked != nil && len(f.unbuilt) == 0 && f.worker == nil && !f.guessed() {
		return &f.out, f.compare(*r.Locked)
	}
	return &f.out, nil
}

// checkEngines warns if a Docker Engine that builds something cannot be used.
func (f *forecaster) checkEngines(ctx context.Context) {
	r, wanted := f.Request, map[string]bool{}
	if len(f.unbuilt) > 0 {
		wanted[""], wanted[r.ContainersEngine] = true, true
	}
	if len(f.out.Build) > len(f.unbuilt) {
		wanted[r.KernelOptions.Container.Engine] = true
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		engine, err := dockerhost.ConnectTo(ctx, name)
		if err == nil {
			err = engine.Close()
		}
		if err != nil {
			progress.Warnf(f.b.Progress, "the build of %s cannot work here, because it needs Docker: %v", r.Flavor.ID, err)
		}
	}
}

func (f *forecaster) unknown(format string, args ...any) {
	f.out.NotKnown = append(f.out.NotKnown, fmt.Sprintf(format, args...))
}

// addShared adds the root file system if the shared cache has it. Its key is known
// where the kernel is an image that is taken as it is. That of the embedded images
// depends on what is in the kernel.
func (f *forecaster) addShared(ctx context.Context) error {
	p, o := f.Kernel, f.Request.KernelOptions.Plan
	if !f.b.Cache.HasRemote() {
		return nil
	}
	if f.Embedded != nil {
		f.unknown("whether the shared cache has the embedded images")
	}
	if p == nil || p.Image == nil || len(p.Drivers)+len(o.Modules.Include)+len(o.Modules.Exclude)+len(o.Firmware)+len(f.unbuilt) > 0 {
		f.unknown("whether the shared cache has the root file system")
		return nil
	}
	a, err := f.b.newAssembly(ctx, f.base)
	if err != nil {
		return err
	}
	key, err := a.segmentKey(f.Request.Segment)
	if err != nil {
		return err
	}
	from, size, err := f.b.Cache.Shared(ctx, onboard.SegmentsKind, key)
	if from != "" {
		f.out.Shared = append(f.out.Shared, ForecastShared{forSystem, from, size})
	}
	return err
}

// addWorker says where the worker would be looked for.
func (f *forecaster) addWorker() {
	need := f.worker
	switch {
	case need == nil:
	case f.Request.Embed.WorkerFrom != "":
		f.unknown("the worker, which is taken out of the HookOS %s, and what that downloads", web.Show(f.Request.Embed.WorkerFrom))
	case need.Commit == "":
		f.unknown("the worker, which is taken out of the HookOS %s, and what that downloads", web.Show(need.HookOS.URL))
	default:
		f.unknown("the worker, which is taken out of the HookOS %s, else is %s of commit %.12s, and what that downloads", web.Show(need.HookOS.URL), bundles.Agent, need.Commit)
	}
}

// outputs returns the paths of the files that are written, apart from device
// trees.
func (r Request) outputs() []string {
	kinds := []string{"vmlinuz-", "initramfs-"}
	if len(r.Documents) > 0 {
		kinds = append(kinds, artifact.CmdlinePrefix)
	}
	var names []string
	for _, id := range []string{r.OutputID, r.Flavor.Arch} {
		for _, kind := range kinds {
			names = append(names, kind+id)
		}
	}
	if r.Tar {
		rootFS := r.rootFSName()
		names = append(names, rootFS+".tar", rootFS+".filelist")
	}
	if r.ISO != nil {
		names = append(names, r.isoName())
	}
	names = append(names, artifact.ChecksumsFile, artifact.ManifestFile)
	if !r.NoSBOM {
		names = append(names, artifact.SBOMFile, artifact.ProvenanceFile)
	}
	var all []string
	for _, name := range names {
		if path := filepath.Join(r.Out, r.Name, name); !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	if r.ISO != nil {
		all = append(all, filepath.Join(r.Out, r.isoName()))
	}
	return append(all, filepath.Join(r.Out, artifact.TarballName(r.Name, r.OutputID)))
}

// rootFSName returns build.sh's name for the tar archive, without its ending.
func (r Request) rootFSName() string { return r.Name + "_rootfs_" + r.OutputID }
