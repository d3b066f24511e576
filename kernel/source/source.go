// Package source fetches the kernel's source from kernel.org: it finds the
// point releases of a series, downloads the archive, and verifies that it is
// the one that its maintainers signed. It does not unpack the archive.
//
// An archive is verified if its sha256 is listed in the directory's
// sha256sums.asc, that file is clear-signed by a key of the keyring, and
// linux-VERSION.tar.sign is a signature of the uncompressed archive by such a
// key. Files that fail a check are deleted.
package source

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Options specify where sources come from and where they are stored.
type Options struct {
	// Dir keeps the archives, the partial files of interrupted downloads, and
	// the last known releases.
	Dir string
	// Mirrors are base URLs that have v6.x/linux-6.6.32.tar.xz below them,
	// tried in order; empty means [defaultMirrors].
	Mirrors []string
	// ReleasesURL has kernel.org's list of releases; empty means
	// [ReleasesURL].
	ReleasesURL string
	// Keys is the armoured keyring (kernel/keys.asc of a Hook checkout).
	Keys []byte
	// SHA256 is the checksum that an archive of [Fetch] must have in addition;
	// empty checks nothing.
	SHA256 string
	// Web fetches; nil means a client with the default limits.
	Web *web.Client
	// Offline forbids the network; what is in Dir still works.
	Offline  bool
	Progress progress.Sink
	// Now is the clock; nil means [time.Now].
	Now func() time.Time
}

// ReleasesURL is kernel.org's list of current releases.
const ReleasesURL = "https://www.kernel.org/releases.json"

// defaultMirrors returns the two servers of kernel.org.
func defaultMirrors() []string {
	return []string{"https://www.kernel.org/pub/linux/kernel", "https://cdn.kernel.org/pub/linux/kernel"}
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o Options) client() *web.Client {
	if o.Web != nil {
		return o.Web
	}
	return web.New(web.Options{Progress: o.Progress})
}

func (o Options) mirrors() []string {
	if len(o.Mirrors) > 0 {
		return o.Mirrors
	}
	return defaultMirrors()
}

// Archive is a source archive on the local disk.
type Archive struct {
	// Path is the path of the file, linux-VERSION.tar.xz for archives of
	// kernel.org.
	Path string
	// SHA256 is the checksum of the file, in hex.
	SHA256 string
}

// Version is a kernel release: 6.6.32, or 6.6 with Point 0 for the first of a
// series.
type Version struct{ Major, Minor, Point int }

// ParseVersion reads "6.6.32" or "6.6".
func ParseVersion(text string) (Version, error) {
	parts := strings.Split(text, ".")
	var numbers [3]int
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || strings.Trim(part, "0123456789") != "" || len(parts) < 2 || len(parts) > 3 {
			return Version{}, fault.Usagef("reading the kernel version %q: it should look like 6.6.32", text)
		}
		numbers[i] = n
	}
	return Version{numbers[0], numbers[1], numbers[2]}, nil
}

// String returns the version as kernel.org names its files: a Point of 0 is
// omitted.
func (v Version) String() string {
	if v.Point == 0 {
		return v.Series()
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Point)
}

// Series returns the series, such as "6.6".
func (v Version) Series() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Compare orders versions by their numbers.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Point, w.Point))
}

// URL returns the address of a release's archive on kernel.org.
func URL(v Version) string { return defaultMirrors()[0] + "/" + v.directory() + "/" + v.file() + ".xz" }

// directory returns the directory of the version on a mirror: "v6.x".
func (v Version) directory() string { return fmt.Sprintf("v%d.x", v.Major) }

// file returns the archive's name without the suffix of its compression.
func (v Version) file() string { return "linux-" + v.String() + ".tar" }
