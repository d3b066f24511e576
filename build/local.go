package build

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/site/lock"
)

// lockName returns the name that the lock has for a file, without directories of
// this machine where it can be named without them.
func (r Request) lockName(name string) string {
	if to, ok := r.Names[name]; ok {
		return to
	}
	if file, more, ok := strings.Cut(name, ",name="); ok && r.Names[file] != "" { // of a module source
		return r.Names[file] + ",name=" + more
	}
	return name
}

// renamed returns inputs under the names that the lock has for them.
func (r Request) renamed(all []lock.Input) []lock.Input {
	all = slices.Clone(all)
	for i := range all {
		all[i].Name = r.lockName(all[i].Name)
	}
	return all
}

// SourceFiles returns the files of this machine that the template, the documents or
// the overlays name, and whether they name them by an absolute path. Home lists those
// that they name by the home directory, which is another one elsewhere.
func (r Request) SourceFiles(ctx context.Context) (files map[string]bool, home []string, err error) {
	p, err := r.readLocal(ctx)
	if err != nil {
		return nil, nil, err
	}
	paths, err := p.document.Sources(p.options)
	if err != nil {
		return nil, nil, err
	}
	files = map[string]bool{}
	for _, f := range p.document.Files {
		switch path := paths[f.Path]; {
		case path == "":
		case strings.HasPrefix(f.Source, "~/"):
			home = append(home, f.Source)
		default:
			files[path] = filepath.IsAbs(f.Source)
		}
	}
	return files, home, nil
}

func (r *Request) readLocal(ctx context.Context) (*base, error) {
	if err := r.fillDefaults(); err != nil {
		return nil, err
	}
	p, _, err := r.readBase(ctx, nil)
	return p, err
}

// CheckLocal compares the files of this machine with the lock, as far as no network
// or Docker Engine is needed for it. An error names what differs.
func (r Request) CheckLocal(ctx context.Context, l lock.Build) error {
	p, err := r.readLocal(ctx)
	if err != nil {
		return err
	}
	inputs, err := r.readInputs(ctx, p)
	if err != nil {
		return err
	}
	config, err := r.configDigest(ctx, l)
	if err != nil {
		return err
	}
	found := slices.Concat(r.Inputs, inputs, r.overlayDigests(), config)
	template, err := r.templateDigest()
	if err != nil {
		return err
	}
	known := append(slices.Clone(l.Files), l.Template)
	if l.Kernel.Config != nil {
		known = append(known, *l.Kernel.Config)
	}
	var lines []string
	for _, in := range r.renamed(append(found, template)) {
		same := func(k lock.Input) bool { return k.Name == in.Name }
		if i := slices.IndexFunc(known, same); i >= 0 && !slices.Contains(known, in) {
			lines = append(lines, fmt.Sprintf("  %s: %s -> %s", in.Name, known[i].SHA256, in.SHA256))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fault.Invalidf("comparing the files of %s with the lock: %s (lock -> found):\n%s\nrestore what the lock names, or accept what there is with `hookbuild lock --update`",
		l.Flavor, words.Count(len(lines), "difference"), strings.Join(lines, "\n"))
}

// configDigest hashes the flavor's kernel configuration, if the lock has one.
func (r Request) configDigest(ctx context.Context, l lock.Build) ([]lock.Input, error) {
	if l.Kernel.Config == nil || len(r.Documents) > 0 {
		return nil, nil
	}
	sum, err := digest.OfFile(ctx, filepath.Join(r.Workspace.Dir, filepath.FromSlash(l.Kernel.Config.Name)))
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's configuration: %w", err)
	}
	return []lock.Input{{Name: l.Kernel.Config.Name, SHA256: sum}}, nil
}

// sourceInputs hashes the files that the document names.
func (p *base) sourceInputs(ctx context.Context) ([]lock.Input, error) {
	sources, err := p.sourceDigests(ctx)
	var all []lock.Input
	for name, sum := range sources {
		all = append(all, lock.Input{Name: name, SHA256: sum})
	}
	return all, err
}

// overlayDigests hashes the overlays before their variables are expanded.
func (r Request) overlayDigests() []lock.Input {
	var all []lock.Input
	for _, overlay := range r.Overlays {
		all = append(all, lock.Input{Name: overlay.Name, SHA256: digest.OfBytes(overlay.Text)})
	}
	return all
}

// OfCheckout reports whether a path below a Hook checkout is of what hookbuild reads
// of one, beside the files that a template names. Other files may be anything, such
// as passwords or what build.sh left.
func (w Workspace) OfCheckout(name string, d fs.DirEntry) bool {
	if d.Name() == ".git" || path.Dir(name) == pulledImages && isPulled(d) {
		return false
	}
	first, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"bash", "files", "images", "kernel", "linuxkit-templates"}, first)
}
