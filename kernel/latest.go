package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel/flavor"
)

// tagger lists the tags of a repository. [oci.Client] implements it.
type tagger interface {
	Tags(ctx context.Context, repository string) ([]string, error)
}

// kernelTag matches the tag of a kernel image: 6.6.32-14b8be17.
var kernelTag = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)-[0-9a-f]{8}$`)

// wanted describes the published kernel to look for.
type wanted struct {
	// Repository holds the images; Series is "6.6", Arch "x86_64" or
	// "aarch64".
	Repository, Series, Arch string
	// Hash ends the tags of kernels that were built from the inputs at hand.
	// It may be empty. HashOnly excludes all other kernels.
	Hash     string
	HashOnly bool
	// Config is the file that determines Hash, for messages. Insist reports
	// whether --kernel latest would accept the other kernels.
	Config string
	Insist bool
}

func (w wanted) fits(tag string) bool {
	return inSeries(tag, w.Series) && (!w.HashOnly || strings.HasSuffix(tag, "-"+w.Hash))
}

// latest returns the references of the wanted kernel images, highest version
// first, as USE_LATEST_BUILT_KERNEL requires. Within a version, the image with
// the inputs' own hash comes first and the others follow in byte order: hashes
// do not tell age, and the architectures share the repository.
func latest(ctx context.Context, tagger tagger, w wanted) ([]string, error) {
	tags, err := tagger.Tags(ctx, w.Repository)
	if err != nil {
		return nil, err
	}
	var fit []string
	for _, tag := range tags {
		if w.fits(tag) {
			fit = append(fit, tag)
		}
	}
	if len(fit) == 0 {
		return nil, w.nothing(tags)
	}
	slices.SortFunc(fit, func(a, b string) int { return -compareTags(a, b, w.Hash) })
	for i, tag := range fit {
		fit[i] = w.Repository + ":" + tag
	}
	return fit, nil
}

// nothing returns the error for the case that no tag matches.
func (w wanted) nothing(tags []string) error {
	ofSeries := func(tag string) bool { return inSeries(tag, w.Series) }
	if w.HashOnly && slices.ContainsFunc(tags, ofSeries) {
		remedy := "publish one (hookbuild kernel --push) or use --kernel image:REF"
		if w.Insist { // which one that is, its tag does not say: the architectures share the repository
			remedy = "or --kernel latest to use the newest published one anyway"
		}
		return invalid("finding the latest kernel %s in %q: no kernel of that series there was built from this checkout's %s and kernel/Dockerfile (the tag of such a kernel ends in %s); use --kernel build to compile it, %s",
			w.Series, w.Repository, w.Config, w.Hash, remedy)
	}
	return invalid("finding the latest kernel %s in %q: it has %s; build one (hookbuild kernel) or use --kernel image:REF",
		w.Series, w.Repository, seriesOf(tags))
}

// latestSource reads the newest published kernel of the flavor's series.
func latestSource() source {
	return source{
		names: []string{"latest"}, forms: []string{"latest"},
		flavors: true,
		pin: func(ctx context.Context, _, _ string, o OpenOptions) (*Pinned, error) {
			return o.pinLatest(ctx, false)
		},
		open: func(ctx context.Context, _, _ string, o OpenOptions) (*Image, error) {
			return o.latest(ctx, false)
		},
	}
}

// latest reads the newest published kernel of the flavor, preferably one built
// from this checkout's inputs. If ownOnly is set, it accepts no other: a
// configuration that was edited here has no published kernel yet.
func (o OpenOptions) latest(ctx context.Context, ownOnly bool) (*Image, error) {
	f := o.Plan.Flavor
	if f.Method == flavor.Armbian {
		ref, err := o.armbianRef(ctx)
		if err != nil {
			return nil, err
		}
		return fromArmbian(ctx, o.Client, ref, o.Options)
	}
	w, err := o.wanted(ownOnly)
	if err != nil {
		return nil, err
	}
	image, err := o.findWanted(ctx, w)
	if err != nil {
		return nil, err
	}
	return fromKernelImage(ctx, image, o.Options)
}

// wanted describes the published kernel of the flavor; see [OpenOptions.latest].
func (o OpenOptions) wanted(ownOnly bool) (wanted, error) {
	f := o.Plan.Flavor
	hash, err := o.checkoutHash()
	if lacking := errors.Is(err, fs.ErrNotExist) && !f.Own; err != nil && (ownOnly || !lacking) {
		return wanted{}, err
	}
	return wanted{
		Repository: o.Plan.ImageRepository(), Series: f.Series, Arch: o.Arch, Hash: hash,
		HashOnly: f.Own || ownOnly, Config: f.ConfigPath(), Insist: !f.Own,
	}, nil
}

// mostTried limits how many images are checked for their architecture.
const mostTried = 16

// findLatest finds the first of the images that [latest] returns whose architecture is
// the wanted one. It warns if the image was built from other files than the checkout's.
func findLatest(ctx context.Context, from images, w wanted, sink progress.Sink) (*oci.Image, error) {
	refs, err := latest(ctx, from, w)
	if err != nil {
		return nil, err
	}
	platform := v1.Platform{OS: "linux", Architecture: DockerArch(w.Arch)}
	var others []error
	for _, ref := range refs[:min(len(refs), mostTried)] {
		image, err := from.Image(ctx, ref, platform)
		if err == nil && image.Config != nil && image.Config.Architecture == platform.Architecture {
			w.warnOfOther(ref, sink)
			return image, nil
		}
		if err == nil {
			err = fmt.Errorf("%q is for another architecture", ref)
		}
		others = append(others, err)
	}
	return nil, invalid("finding the latest kernel %s for %s in %q: none of the %d newest can be used: %w", w.Series, w.Arch, w.Repository, len(others), errors.Join(others...))
}

// warnOfOther warns if the kernel image ref does not have the hash of the checkout.
func (w wanted) warnOfOther(ref string, sink progress.Sink) {
	hash := ref[strings.LastIndex(ref, "-")+1:]
	if w.Hash == "" || hash == w.Hash {
		return
	}
	progress.Warnf(sink, "the kernel %s was not built from the checkout's %s and kernel/Dockerfile: its hash is %s, theirs %s; --kernel build compiles theirs", web.ShowAll(ref), w.Config, hash, w.Hash)
}

func inSeries(tag, series string) bool {
	return kernelTag.MatchString(tag) && strings.HasPrefix(tag, strings.TrimSuffix(series, ".y")+".")
}

// compareTags orders tags by version, then by whether they have the wanted
// hash.
func compareTags(a, b, hash string) int {
	wanted := "-" + hash
	hasA, hasB := strings.HasSuffix(a, wanted), strings.HasSuffix(b, wanted)
	same := compareNumbers(kernelTag, a, b) == 0 && hasA != hasB
	switch {
	case same && hasA:
		return 1
	case same:
		return -1
	}
	return compareVersions(kernelTag, a, b)
}

// compareVersions orders tags by the three numbers that the form captures, and
// by bytes if those are equal.
func compareVersions(form *regexp.Regexp, a, b string) int {
	return cmp.Or(compareNumbers(form, a, b), cmp.Compare(a, b))
}

func compareNumbers(form *regexp.Regexp, a, b string) int {
	return slices.Compare(numbersOf(form, a), numbersOf(form, b))
}

// numbersOf returns a tag's numbers. A number that is too long for a version is
// 0.
func numbersOf(form *regexp.Regexp, tag string) []int {
	var numbers []int
	for _, text := range form.FindStringSubmatch(tag)[1:] {
		n, err := strconv.Atoi(text)
		if err != nil {
			n = 0
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// seriesOf lists the series of the tags, for the error about a series that is
// not among them.
func seriesOf(tags []string) string {
	var have []string
	for _, tag := range tags {
		if m := kernelTag.FindStringSubmatch(tag); m != nil {
			have = append(have, m[1]+"."+m[2])
		}
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if len(have) == 0 {
		return fmt.Sprintf("%d tags, none of the form VERSION-HASH", len(tags))
	}
	return "only kernels of the series " + strings.Join(have, ", ")
}
