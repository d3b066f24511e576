// Package verify verifies a finished HookOS: that the artifacts are those that
// were built, that the kernel unpacks the whole initramfs, that every embedded
// image is complete, and that the images of a template's actions are embedded.
//
//	checksums.txt, manifest.json -> files
//	initramfs -> segments, /init, modules of the vmlinuz next to it -> images
//	sbom.spdx.json, provenance.json -> what the files have and the manifest says
//	templates -> actions -> images
//
// One run reports all problems. It boots nothing and asks no registry: the manifest
// says which images were embedded.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/build/sbom"
	"hookbuild/build/signature"
	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/site/profile"
)

// Request says what to verify.
type Request struct {
	// Dir is the directory of the artifacts, OUT/hook, or its parent OUT.
	Dir string
	// Vmlinuz and Initramfs are the paths of a pair to verify, without checksums,
	// instead of Dir.
	Vmlinuz, Initramfs string
	// Arch (x86_64, aarch64) limits the check of the contents to the initramfs of
	// one architecture. Empty means all. The checksums of all files are checked.
	Arch string
	// Templates are files whose actions' images must be embedded, see
	// [hookbuild/bundles.ReadActions].
	Templates []string
	// SBOM requires sbom.spdx.json and provenance.json, which are compared with the
	// files whenever they are there.
	SBOM bool
	// Key is the file of the public key that must have signed checksums.txt; "" for
	// none.
	Key string
	// Cluster is the cluster specification that the artifacts are for; nil for none.
	// Its file is also among Templates.
	Cluster *bundles.Cluster
}

// Report lists what was verified, and the problems found.
type Report struct {
	Dir       string          `json:"dir"`
	Artifacts []artifact.File `json:"artifacts"` // as found
	// Signature is the file with the signature that was verified.
	Signature string          `json:"signature,omitempty"`
	Tarballs  []artifact.File `json:"tarballs,omitempty"` // next to Dir
	Bundles   []Bundle        `json:"bundles,omitempty"`
	// Sites are what sites put into the builds, as manifest.json records it.
	Sites   []Site   `json:"sites,omitempty"`
	Systems []System `json:"systems"`
	Actions []Action `json:"actions,omitempty"`
	Faults  []Fault  `json:"faults"`
}

// System is an initramfs with the kernel that boots it.
type System struct {
	Initramfs string  `json:"initramfs"`
	Segments  int     `json:"segments"`
	Files     int     `json:"files"`
	Kernel    string  `json:"kernel,omitempty"` // the release; "" if it could not be read
	Images    []Image `json:"images,omitempty"`
	// Worker is which worker it has on board and how that was found out; nil
	// without one, and for one that could not be examined.
	Worker *Worker `json:"worker,omitempty"`
	// NoWorker reports that it is a HookOS and certainly has no worker on board. It is
	// false where the embedded images could not be read.
	NoWorker bool `json:"noWorker"`
	// Damaged reports that the embedded images could not be read, so that nothing is
	// known of them.
	Damaged bool `json:"damaged,omitempty"`
	// NoGetty reports that it is a LinuxKit system without a getty among its services,
	// so nobody can log in on its console.
	NoGetty bool `json:"noGetty,omitempty"`

	store *embed.Store // nil if no images are embedded, or if they are Damaged
}

// Site is what a site put into a build.
type Site struct {
	Build    string            `json:"build"` // its id
	Overlays []artifact.Input  `json:"overlays,omitempty"`
	Settings []profile.Setting `json:"settings,omitempty"`
}

// Bundle is the EKS Anywhere bundle of a build, as manifest.json records it. Run does
// not verify the signature, because the bundle's manifest is not among the artifacts;
// the caller may do so where it has that.
type Bundle struct {
	Build     string `json:"build"` // its id
	Text      string `json:"bundle"`
	Digest    string `json:"digest,omitempty"`    // of the bundle's manifest
	Signature string `json:"signature,omitempty"` // valid, absent or wrong; "" in older manifests
	// Verified says where the manifest is that the signature was verified by; "" where
	// Signature is what the build recorded.
	Verified string `json:"verified,omitempty"`
}

// Worker is the worker that a system has on board.
type Worker struct {
	Program string `json:"program"` // tink-worker, tink-agent or unknown
	Because string `json:"because"`
}

// Image is an embedded image.
type Image struct {
	ID    string   `json:"id"`
	Names []string `json:"names"` // with those by digest
	Size  int64    `json:"size"`  // of the unpacked files
}

// Fault is a problem with a file, and what to do about it.
type Fault struct {
	File    string `json:"file"`           // in Dir, or a template as it was given
	Line    int    `json:"line,omitempty"` // of a template
	Problem string `json:"problem"`
}

func (f Fault) String() string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Problem)
	}
	return f.File + ": " + f.Problem
}

// Run verifies what r names. Problems that it finds are in the report. The error is
// about what could not be checked. If the files are replaced meanwhile, as a build
// does, Run begins again with the new ones.
func Run(ctx context.Context, e *remaster.Editor, r Request) (*Report, error) {
	const most = 3
	for try := 1; ; try++ {
		v := &verifier{
			editor: e, request: r, actions: map[string]*bundles.Actions{}, listed: map[string]*sbom.Document{},
			report: &Report{Artifacts: []artifact.File{}, Systems: []System{}, Faults: []Fault{}},
		}
		err := v.run(ctx)
		if !errors.Is(err, errReplaced) {
			return v.report, err
		}
		if try == most {
			return nil, fault.Failedf("verifying %q: its files were replaced %d times while they were read; verify them when nothing writes there any more", v.what(), try)
		}
		progress.Notef(e.Progress, "the files of %s were replaced while they were verified, as a build does; verifying the new ones", v.what())
	}
}

// run verifies what the request names, once.
func (v *verifier) run(ctx context.Context) error {
	if err := v.readInputs(); err != nil {
		return err
	}
	checks := []func(context.Context) error{v.checkSignature, v.checkFiles, v.checkTarballs, v.checkSystems, v.checkSBOM, v.checkBundles, v.checkActions}
	if r := v.request; r.Vmlinuz != "" {
		v.before = statesOf(r.Vmlinuz, r.Initramfs)
		checks = []func(context.Context) error{v.runPair}
	} else if err := v.find(); err != nil {
		return err
	}
	for _, check := range checks {
		err := check(ctx)
		if ctx.Err() == nil && v.replaced() {
			return errReplaced
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// what returns the name of what is verified, for messages.
func (v *verifier) what() string { return cmp.Or(v.dir, v.request.Initramfs) }

// readInputs reads the files of the request that are not artifacts, before the
// artifacts, which takes long.
func (v *verifier) readInputs() (err error) {
	if v.request.Key != "" {
		if v.key, err = signature.ReadKey(v.request.Key); err != nil {
			return err
		}
	}
	for _, file := range v.request.Templates {
		if v.actions[file], err = bundles.ReadActions(file); err != nil {
			return err
		}
	}
	return nil
}

// runPair verifies a kernel and an initramfs without a manifest.
func (v *verifier) runPair(ctx context.Context) error {
	r := v.request
	for _, path := range []string{r.Vmlinuz, r.Initramfs} {
		if !v.isFile(path) {
			return fault.Invalidf("verifying %q: it is not a file; name the vmlinuz and the initramfs", path)
		}
	}
	if err := v.checkSystem(ctx, r.Initramfs, r.Vmlinuz); err != nil {
		return err
	}
	return v.checkActions(ctx)
}

// find finds the directory of the artifacts and the names of its files.
func (v *verifier) find() error {
	dir, err := artifact.DirOf(v.request.Dir)
	if err != nil {
		return err
	}
	v.dir, v.report.Dir, v.before = dir, dir, statesIn(dir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Invalidf("looking for the artifacts to verify: %w; name their directory", err)
	}
	for _, e := range entries {
		v.files = append(v.files, e.Name())
	}
	if !slices.ContainsFunc(v.files, artifact.IsArtifact) {
		return fault.Invalidf("looking for the artifacts to verify: there are none in %q; build them with `hookbuild all`, or name their directory", v.request.Dir)
	}
	return nil
}

const (
	vmlinuzPrefix   = "vmlinuz-"
	initramfsPrefix = "initramfs-"
)

type verifier struct {
	editor  *remaster.Editor
	request Request
	key     signature.Key               // of the request, if it names one
	actions map[string]*bundles.Actions // of the request's templates
	dir     string
	files   []string // in dir
	before  states   // of the files, when the verification began
	listing listing
	report  *Report
	listed  map[string]*sbom.Document // what builds have, by ID, as far as it was read
}

func (v *verifier) path(name string) string { return filepath.Join(v.dir, name) }

func (v *verifier) wrong(file, format string, args ...any) { v.wrongAt(file, 0, format, args...) }

// wrongAt adds a fault, on one line, unless another check has added the same.
func (v *verifier) wrongAt(file string, line int, format string, args ...any) {
	f := Fault{file, line, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")}
	if !slices.Contains(v.report.Faults, f) {
		v.report.Faults = append(v.report.Faults, f)
	}
}

// take adds the errors that err joins to the faults, if they are about an invalid
// file. It returns other errors.
func (v *verifier) take(ctx context.Context, file string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil || fault.KindOf(err) != fault.Invalid {
		return err
	}
	for _, one := range each(err) {
		v.wrong(file, "%v", one)
	}
	return nil
}

// each returns the errors that err joins, or err alone.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		if all := joined.Unwrap(); errors.Join(all...).Error() == err.Error() {
			return all
		}
	}
	return []error{err}
}

// during shows a check as a task, which fails if the check finds a problem.
func (v *verifier) during(task *progress.Task, check func() error) error {
	before := len(v.report.Faults)
	if err := check(); err != nil {
		return task.End(err, "")
	}
	if found := v.report.Faults[before:]; len(found) > 0 {
		_ = task.End(errors.New(found[0].String()), "") // it is in the report
		return nil
	}
	return task.End(nil, "")
}

func (v *verifier) start(total int64, format string, args ...any) *progress.Task {
	return progress.Start(v.editor.Progress, total, format, args...)
}
