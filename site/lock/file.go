package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
)

// mostBytes limits the size of a lock; one of twenty flavors has 100 KB.
const mostBytes = 4 << 20

const header = `# Everything that goes into the HookOS of this site, by digest. Keep it in
# version control next to the Hook checkout, and review its changes.
#
#   hookbuild all FLAVOR --locked       builds exactly this
#   hookbuild lock --update [NAME...]   looks for newer ones and says what changed
#   hookbuild kit save -o kit.tar       puts all of it into one file
#
# hookbuild writes this file; change the options or hookbuild.yaml instead.
# When it writes the file again, comments that were added to it are lost.
`

// Read reads the lock at path.
func Read(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Invalidf("reading the lock: %w; write one with `hookbuild lock FLAVOR`", err)
	}
	if err != nil {
		return nil, fault.Invalidf("reading the lock: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading the lock %q: %w", path, err)
	}
	return Parse(text, path)
}

// Parse reads a lock. Origin names it in errors.
func Parse(text []byte, origin string) (*File, error) {
	f, err := parse(text)
	if err == nil {
		err = f.checkSum()
	}
	if err != nil {
		return nil, fault.Invalidf("reading the lock %q: %w", origin, err)
	}
	return f, nil
}

// The remedies for a lock that cannot be used. Removing it is part of them because
// `hookbuild lock` adds to a lock that is there.
const (
	anew  = "remove it and write it again with `hookbuild lock FLAVOR`"
	again = "restore it from version control, or " + anew
)

func parse(text []byte) (*File, error) {
	if err := checkKind(text); err != nil {
		return nil, err
	}
	if len(text) > mostBytes {
		return nil, fmt.Errorf("it has more than %d MiB; %s", mostBytes>>20, again)
	}
	if bytes.Contains(text, []byte("\n<<<<<<< ")) || bytes.HasPrefix(text, []byte("<<<<<<< ")) {
		return nil, errors.New("it has the marks of a merge conflict; keep one side, and run `hookbuild lock --update` with the names of the other side's changes")
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("it is not valid YAML: %w; %s", err, again)
	}
	if root.Kind == 0 {
		return nil, fmt.Errorf("it is empty; %s", again)
	}
	if line := aliasIn(&root); line > 0 {
		return nil, fmt.Errorf("line %d has an alias or anchor, which hookbuild does not write; %s", line, again)
	}
	var only struct {
		Version int `yaml:"version"`
	}
	if err := root.Decode(&only); err != nil {
		return nil, fmt.Errorf("it is not a lock: %w; %s", err, again)
	}
	if only.Version != Version {
		return nil, fmt.Errorf("its version is %d and this hookbuild reads version %d; use the hookbuild that wrote it, or %s", only.Version, Version, anew)
	}
	var f File
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil {
		return nil, fmt.Errorf("it is not a lock: %w; %s", err, again)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it has a second document; %s", again)
	}
	return &f, f.check()
}

// ofLock matches a line that every lock has.
var ofLock = regexp.MustCompile(`(?m)^(version|builds):`)

// checkKind reports a file that is not a lock, such as a list of hardware, which
// must not be removed.
func checkKind(text []byte) error {
	first, _, _ := strings.Cut(header, "\n") // also of a lock that was cut off below its comments
	if len(bytes.TrimSpace(text)) == 0 || ofLock.Match(text) || bytes.HasPrefix(text, []byte(first)) {
		return nil
	}
	return fmt.Errorf("it seems to be %s, not a lock; name the file that `hookbuild lock` wrote", filetype.Of(text[:min(len(text), filetype.Head)]))
}

func aliasIn(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return max(n.Line, 1)
	}
	for _, c := range n.Content {
		if line := aliasIn(c); line > 0 {
			return line
		}
	}
	return 0
}

// check reports what a lock must have and this one does not.
func (f *File) check() error {
	if len(f.Builds) == 0 {
		return fmt.Errorf("it has no builds; %s", anew)
	}
	for i, b := range f.Builds {
		if err := b.check(); err != nil {
			return fmt.Errorf("build %q: %w; %s", b.Flavor, err, again)
		}
		if slices.ContainsFunc(f.Builds[:i], b.is) {
			return fmt.Errorf("it has the flavor %s twice; %s", b.Flavor, again)
		}
	}
	return nil
}

// checkSum reports a change that hookbuild did not make.
func (f *File) checkSum() error {
	sum, err := f.sum()
	if err != nil {
		return err
	}
	if f.Sum != sum {
		return fmt.Errorf("it was changed after hookbuild wrote it (its sum does not match its content); %s", again)
	}
	return nil
}

var wholeDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (b Build) check() error {
	kinds := []string{FromImage, FromSource, FromArmbian, FromPackages, FromDirectory, FromDocument}
	switch {
	case b.Flavor == "":
		return errors.New("it names no flavor")
	case b.Arch != "amd64" && b.Arch != "arm64":
		return fmt.Errorf("its arch is %q, neither amd64 nor arm64", b.Arch)
	case !slices.Contains(kinds, b.Kernel.From):
		return fmt.Errorf("kernel: from is %q, not one of %s", b.Kernel.From, strings.Join(kinds, ", "))
	case (b.Kernel.From == FromImage || b.Kernel.From == FromArmbian) && b.Kernel.Image == nil:
		return fmt.Errorf("kernel: an image is needed where from is %s", b.Kernel.From)
	case b.Kernel.From == FromSource && (b.Kernel.Source == nil || b.Kernel.Builder == nil || b.Kernel.Config == nil):
		return errors.New("kernel: source, config and builder are needed where from is source")
	}
	for _, image := range b.AllImages() {
		if err := image.check(); err != nil {
			return fmt.Errorf("image %q: %w", image.Reference, err)
		}
	}
	for _, in := range b.inputs() {
		if in.Name == "" || !wholeDigest.MatchString(in.SHA256) {
			return fmt.Errorf("file %q: its digest %q is not sha256: and 64 hex digits", in.Name, in.SHA256)
		}
	}
	if k := b.Kernel.Builder; k != nil && (k.Name == "" || !wholeDigest.MatchString(k.Digest) && !wholeDigest.MatchString(k.ID)) {
		return fmt.Errorf("builder %q: it has neither a digest nor an id", k.Name)
	}
	return nil
}

func (i Image) check() error {
	if i.Reference == "" {
		return errors.New("it has no reference")
	}
	for _, d := range []struct{ name, value string }{{"digest", i.Digest}, {"manifest", i.Manifest}, {"id", i.ID}} {
		if d.value != "" && !wholeDigest.MatchString(d.value) {
			return fmt.Errorf("its %s %q is not sha256: and 64 hex digits", d.name, d.value)
		}
	}
	if i.Digest == "" && i.ID == "" {
		return errors.New("it has neither a digest nor an id")
	}
	if i.Size < 0 {
		return fmt.Errorf("its size is %d", i.Size)
	}
	return nil
}

// inputs lists the files of a build.
func (b Build) inputs() []Input {
	all := []Input{b.Template}
	if b.Bundle != nil {
		all = append(all, Input{b.Bundle.Location, b.Bundle.SHA256})
	}
	for _, in := range []*Input{b.Worker, b.Kernel.Source, b.Kernel.Config} {
		if in != nil {
			all = append(all, *in)
		}
	}
	return slices.Concat(all, b.Files, b.Kernel.Files)
}

// sum returns the digest of what the lock says.
func (f File) sum() (string, error) {
	f.Sum = ""
	text, err := yaml.Marshal(f)
	return digest.OfBytes(text), err
}

// Encode returns the file's text.
func (f File) Encode() ([]byte, error) {
	f.Version = Version
	f.Builds = slices.Clone(f.Builds)
	f.sort()
	var err error
	if f.Sum, err = f.sum(); err != nil {
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	var root yaml.Node
	if err := root.Encode(f); err != nil {
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	explain(&root)
	text := bytes.NewBufferString(header)
	out := yaml.NewEncoder(text)
	out.SetIndent(2)
	if err := errors.Join(out.Encode(&root), out.Close()); err != nil {
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	if text.Len() > mostBytes {
		return nil, fault.Invalidf("writing the lock: it would have %d bytes, and at most %d are supported; lock fewer flavors", text.Len(), mostBytes)
	}
	return text.Bytes(), f.check()
}

// Write puts the lock at path, whole or not at all.
func (f File) Write(path string) error {
	text, err := f.Encode()
	if err != nil {
		return err
	}
	err = atomicfile.Write(path, 0o644, func(w io.Writer) error { _, err := w.Write(text); return err })
	if err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	return nil
}

// explain adds comments for reviewers.
func explain(root *yaml.Node) {
	says := map[string]string{
		"arch":      "every image below is for linux on it",
		"bundle":    "the EKS Anywhere bundle that names the images",
		"worker":    "the HookOS that the worker is taken out of",
		"images":    "what the root file system is made of",
		"embedded":  "what it carries on board",
		"files":     "other files that are read",
		"builder":   "the container that compiles the kernel",
		"options":   "as given on the command line or in hookbuild.yaml",
		"variables": "build.sh's variables",
		"sum":       "shows a change that hookbuild did not make",
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Kind == yaml.MappingNode {
			key := root.Content[i]
			if key.Value == "size" {
				root.Content[i+1].LineComment = humanSize(root.Content[i+1].Value)
			}
			key.HeadComment = says[key.Value]
		}
	}
	for _, c := range root.Content {
		explain(c)
	}
}
