package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// largestListing is the size limit of checksums.txt and manifest.json, which have a
// few KiB.
const largestListing = 16 << 20

// listing is what checksums.txt and manifest.json list. Fields are nil if the file
// cannot be read.
type listing struct {
	sums    map[string]string        // SHA-512 by name
	records map[string]artifact.File // by name
	builds  []artifact.Build
}

// known reports whether one of the two lists the file.
func (l listing) known(name string) bool {
	_, summed := l.sums[name]
	_, recorded := l.records[name]
	return summed || recorded
}

// names returns the names of all listed files, sorted.
func (l listing) names() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(l.sums)), maps.Keys(l.records))
	slices.Sort(all)
	return slices.Compact(all)
}

// checkFiles compares the files with checksums.txt and manifest.json.
func (v *verifier) checkFiles(ctx context.Context) error {
	if err := v.readListings(ctx); err != nil {
		return err
	}
	for _, name := range v.files {
		if artifact.IsBootFile(name) && !v.listing.known(name) {
			v.wrong(name, "neither %s nor %s lists it; remove it, or build it again", artifact.ChecksumsFile, artifact.ManifestFile)
		}
	}
	named := v.listing.names()
	var total int64
	for _, name := range named {
		if info, err := os.Stat(v.path(name)); err == nil {
			total += info.Size()
		}
	}
	task := v.start(total, "compare the checksums in %s", v.dir)
	return v.during(task, func() error {
		for _, name := range named {
			if err := v.take(ctx, name, v.checkFile(task, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *verifier) readListings(ctx context.Context) (err error) {
	v.listing.sums, err = v.readChecksums()
	if err := v.take(ctx, artifact.ChecksumsFile, err); err != nil {
		return err
	}
	return v.take(ctx, artifact.ManifestFile, v.readManifest())
}

// checkListing returns an error if the file does not exist or cannot be a listing.
func (v *verifier) checkListing(name string) error {
	info, err := os.Stat(v.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid(missing)
	case err != nil:
		return fault.Mark(err, fault.Invalid)
	case !info.Mode().IsRegular() || info.Size() > largestListing:
		return invalid("it is not a regular file of at most %d MiB; build the artifacts again", largestListing>>20)
	}
	return nil
}

const missing = "it does not exist; copy it here, or build it again"

func invalid(format string, args ...any) error {
	return fault.Invalidf(format, args...)
}

var checksumLine = regexp.MustCompile(`^([0-9A-Fa-f]{128}) [ *](.+)$`)

// readChecksums returns the checksums on valid lines, and one error for all other
// lines.
func (v *verifier) readChecksums() (map[string]string, error) {
	if err := v.checkListing(artifact.ChecksumsFile); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(v.path(artifact.ChecksumsFile))
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	sums, broken := parseChecksums(string(text))
	if len(broken) > 0 {
		return sums, invalid("%s not a SHA-512 checksum and a file name; copy it again, or build the artifacts again", lines(broken))
	}
	return sums, nil
}

// parseChecksums returns the checksums by name, and the numbers of the lines that are
// not a checksum and a name, or that repeat a name.
func parseChecksums(text string) (sums map[string]string, broken []int) {
	sums = map[string]string{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		m := checksumLine.FindStringSubmatch(strings.TrimSuffix(line, "\r"))
		if m == nil || !artifact.IsPlain(m[2]) || sums[m[2]] != "" {
			broken = append(broken, i+1)
			continue
		}
		sums[m[2]] = strings.ToLower(m[1])
	}
	return sums, broken
}

// lines returns the subject and verb for lines with these numbers: "line 3 is",
// "lines 3 and 4 are", "line 3 and 2 others are".
func lines(numbers []int) string {
	switch n := len(numbers) - 1; n {
	case 0:
		return fmt.Sprintf("line %d is", numbers[0])
	case 1:
		return fmt.Sprintf("lines %d and %d are", numbers[0], numbers[1])
	default:
		return fmt.Sprintf("line %d and %d others are", numbers[0], n)
	}
}

func (v *verifier) readManifest() error {
	if err := v.checkListing(artifact.ManifestFile); err != nil {
		return err
	}
	m, err := artifact.ReadManifest(v.path(artifact.ManifestFile))
	if err != nil {
		return err
	}
	if len(m.Builds) == 0 {
		return invalid("it lists no builds; build the artifacts again")
	}
	v.listing.builds, v.listing.records = m.Builds, map[string]artifact.File{}
	for _, b := range m.Builds {
		if len(b.Overlays)+len(b.Site) > 0 {
			v.report.Sites = append(v.report.Sites, Site{b.ID, b.Overlays, b.Site})
		}
		if t := b.Tarball; t != nil && !artifact.IsPlain(t.Name) {
			return invalid("it lists the tarball %q, which is not a plain file name; build the artifacts again", t.Name)
		}
		for _, a := range b.Artifacts {
			if !artifact.IsPlain(a.Name) {
				return invalid("it lists %q, which is not a plain file name; build the artifacts again", a.Name)
			}
			v.listing.records[a.Name] = a
		}
	}
	return nil
}

// checkFile compares one file with both listings.
func (v *verifier) checkFile(task *progress.Task, name string) error {
	sum, summed := v.listing.sums[name]
	record, recorded := v.listing.records[name]
	if recorded && !summed && v.listing.sums != nil {
		v.wrong(name, "%s lists it, but %s does not; build the artifacts again", artifact.ManifestFile, artifact.ChecksumsFile)
	}
	found, err := v.sum(task, name)
	if err != nil {
		return err
	}
	v.report.Artifacts = append(v.report.Artifacts, found)
	var against []string
	if summed && sum != found.SHA512 {
		against = append(against, artifact.ChecksumsFile)
	}
	if recorded && (record.Size != found.Size || !strings.EqualFold(record.SHA512, found.SHA512)) {
		against = append(against, artifact.ManifestFile)
	}
	if len(against) > 0 {
		return invalid("it has %d bytes and the SHA-512 checksum %.16s..., unlike in %s; copy it again, or build it again", found.Size, found.SHA512, strings.Join(against, " and "))
	}
	return nil
}

// sum returns the size and checksum of a file in the directory.
func (v *verifier) sum(task *progress.Task, name string) (a artifact.File, err error) {
	info, err := os.Stat(v.path(name)) // opening a pipe would block
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, invalid(missing)
	case err != nil:
		return a, fault.Mark(err, fault.Invalid)
	case !info.Mode().IsRegular():
		return a, invalid("it is not a regular file; remove it, and copy or build the file again")
	}
	f, err := os.Open(v.path(name))
	if err != nil {
		return a, fault.Mark(err, fault.Invalid)
	}
	defer f.Close() // only read
	a, err = artifact.Sum(name, task.Reader(f))
	return a, fault.Mark(err, fault.Invalid)
}
