package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

const (
	// freshFor is how long a fetched list is used.
	freshFor = 2 * time.Hour
	// mostReleases limits the size of the list, which is 20 KB.
	mostReleases = 4 << 20
)

// known is the stored part of the list: the highest version seen of each
// series, including series that have since left the list.
type known struct {
	Fetched time.Time         `json:"fetched"`
	Series  map[string]string `json:"series"` // "6.6" -> "6.6.32"
	Listed  map[string]bool   `json:"listed"` // whether the last list had it
	// Releases are those of the last list; nil in a file of an older hookbuild.
	Releases []Release `json:"releases"`
}

// Release is what kernel.org's list says of a release.
type Release struct {
	Version string `json:"version"` // "6.6.32"
	// Moniker is the kind of its series: longterm, stable, mainline.
	Moniker string `json:"moniker"`
	// Released is its date, such as 2024-05-25.
	Released string `json:"released"`
	// EndOfLife reports whether the series gets no more fixes.
	EndOfLife bool `json:"eol"`
	// ChangeLog is the URL of what it changes, "" if it has none.
	ChangeLog string `json:"changelog"`
}

// Listed returns what kernel.org's list says of a series ("6.6"), that is of its
// newest release, or nil if the list does not have the series. The list is fetched as
// by [Latest].
func Listed(ctx context.Context, series string, o Options) (*Release, error) {
	k, err := readKnown(o)
	if err != nil {
		return nil, err
	}
	if age := o.now().Sub(k.Fetched); !o.Offline && (k.Releases == nil || age > freshFor || age < 0) {
		if err := k.refresh(ctx, o); err != nil {
			return nil, fault.Outsidef("reading kernel.org's list of releases: %w", err)
		}
	}
	return k.newest(series), nil
}

// newest returns the newest release of a series, or nil. After a release of the
// mainline, the list has it beside the first fixes of its series.
func (k *known) newest(series string) *Release {
	var newest *Release
	var highest Version
	for _, r := range k.Releases {
		v, err := ParseVersion(r.Version)
		if err == nil && v.Series() == series && (newest == nil || v.Compare(highest) > 0) {
			newest, highest = &r, v
		}
	}
	return newest
}

// Latest returns the newest point release of a series ("6.6") in kernel.org's
// list. It fetches the list if the stored one is older than two hours. Without
// the network, and for a series that has left the list, it returns the last
// known version and warns.
func Latest(ctx context.Context, series string, o Options) (Version, error) {
	k, err := readKnown(o)
	if err != nil {
		return Version{}, err
	}
	age := o.now().Sub(k.Fetched)
	if o.Offline || age <= freshFor && age >= 0 {
		return k.choose(series, o)
	}
	if err := k.refresh(ctx, o); err != nil {
		if ctx.Err() != nil {
			return Version{}, err
		}
		if _, seen := k.Series[series]; !seen { // the stored list does not have the series
			return Version{}, fault.Outsidef("asking kernel.org for the newest release of Linux %s: %w; check the network and HTTPS_PROXY, or choose a release with --kernel-version", series, err)
		}
		progress.Warnf(o.Progress, "%v; using the list of %s", err, k.when())
	}
	return k.choose(series, o)
}

func (k *known) when() string {
	if k.Fetched.IsZero() {
		return "no time"
	}
	return k.Fetched.UTC().Format("2006-01-02 15:04 MST")
}

func (k *known) choose(series string, o Options) (Version, error) {
	text, seen := k.Series[series]
	if !seen && k.Fetched.IsZero() {
		return Version{}, fault.Outsidef("finding the newest release of Linux %s: kernel.org's list was never fetched, and --offline forbids fetching it; run once without --offline, or set KERNEL_POINT_RELEASE", series)
	}
	if !seen {
		return Version{}, fault.Outsidef("finding the newest release of Linux %s: kernel.org's list does not have that series (at %s it had %s); set KERNEL_POINT_RELEASE",
			series, k.when(), orNone(k.listed()))
	}
	if !k.Listed[series] {
		progress.Warnf(o.Progress, "Linux %s has left kernel.org's list: it receives no more fixes; using the last known version, %s (set KERNEL_POINT_RELEASE to choose another)", series, text)
	}
	return ParseVersion(text)
}

func (k *known) listed() string {
	var all []string
	for series, on := range k.Listed {
		if on {
			all = append(all, k.Series[series])
		}
	}
	sortVersions(all)
	return strings.Join(all, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func knownFile(o Options) string { return filepath.Join(o.Dir, "releases.json") }

// readKnown reads the list that earlier runs stored. A missing or damaged file
// counts as an outdated one.
func readKnown(o Options) (*known, error) {
	k := &known{Series: map[string]string{}, Listed: map[string]bool{}}
	text, err := os.ReadFile(knownFile(o))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the known kernel releases: %w", err)
	}
	if err := json.Unmarshal(text, k); err != nil || k.Series == nil || k.Listed == nil {
		progress.Warnf(o.Progress, "%s is damaged; writing a new one", knownFile(o))
		return &known{Series: map[string]string{}, Listed: map[string]bool{}}, nil //nolint:nilerr // reported above
	}
	return k, nil
}

// refresh fetches the list and stores it.
func (k *known) refresh(ctx context.Context, o Options) error {
	releases, err := fetchReleases(ctx, o)
	if err != nil {
		return fault.Mark(err, fault.Outside)
	}
	k.Releases = releases
	k.Fetched = o.now()
	k.Listed = map[string]bool{}
	for _, r := range releases {
		v, err := ParseVersion(r.Version)
		if err != nil {
			return err
		}
		k.Listed[v.Series()] = true
		old, err := ParseVersion(k.Series[v.Series()])
		if err != nil || old.Compare(v) < 0 {
			k.Series[v.Series()] = v.String()
		}
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(knownFile(o), append(text, '\n'))
}

// fetchReleases returns the list, without linux-next and release candidates.
func fetchReleases(ctx context.Context, o Options) ([]Release, error) {
	url := o.ReleasesURL
	if url == "" {
		url = ReleasesURL
	}
	var list struct {
		Releases []struct {
			Version   string `json:"version"`
			Moniker   string `json:"moniker"`
			EndOfLife bool   `json:"iseol"`
			ChangeLog string `json:"changelog"`
			Released  struct {
				Date string `json:"isodate"`
			} `json:"released"`
		} `json:"releases"`
	}
	_, err := small(ctx, o, url, mostReleases, func(text []byte) error { return json.Unmarshal(text, &list) })
	if err != nil {
		return nil, err
	}
	releases := []Release{}
	for _, r := range list.Releases {
		if v, err := ParseVersion(r.Version); err == nil {
			releases = append(releases, Release{v.String(), r.Moniker, r.Released.Date, r.EndOfLife, r.ChangeLog})
		}
	}
	if len(releases) == 0 {
		return nil, fmt.Errorf("reading %q: it lists no releases", web.Show(url))
	}
	return releases, nil
}
