package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"hookbuild/internal/words"
)

// Size is that of an image's layers as a registry sends them, in bytes. Fetch counts
// those that the cache lacks.
type Size struct{ All, Fetch int64 }

// counter adds the sizes of images up.
type counter struct {
	mu  sync.Mutex
	sum total
}

// total is the size of a number of images.
type total struct {
	Size
	images  int
	unknown int // those to embed of which no registry told the size
}

func (c *counter) add(s Size) {
	if s.All == 0 {
		return // a list of tags
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.All += s.All
	c.sum.Fetch += s.Fetch
	c.sum.images++
}

// lack counts an image to embed whose size is not known.
func (c *counter) lack(w Wanted) {
	if !w.Embedded {
		return // rules of thumb count it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.unknown++
}

// Rules of thumb for the bytes that a build writes.
const (
	// bareOut and bareCache are for a HookOS without embedded images: kernel, root
	// file system, and their archives.
	bareOut, bareCache = 500_000_000, 1_000_000_000
	// bundleImages are the layers of an EKS Anywhere bundle's images.
	bundleImages = 300_000_000
	// timesOut is how often --out holds an image: in the initramfs, in hook_ID.tar.gz,
	// and in one of them while it is replaced.
	timesOut = 3
	// timesCache is how often the cache holds it: as sent, unpacked (which is larger),
	// packed, and as a segment.
	timesCache = 5
	// compiledCache is for the kernel's source and what was compiled.
	compiledCache = 1_000_000_000
	// compiledDocker is what Hook's recipe asks for to compile a kernel.
	compiledDocker = 20_000_000_000
)

// ofDocker names the disk of the Docker Engine, which no option chooses.
const ofDocker = "Docker"

// disk is a directory in which space is needed.
type disk struct {
	name, dir string
	need      int64
	why       string // what needs it
	remedy    string
	breaks    []string
	// unsure reports that what needs the space may not be wanted.
	unsure bool

	// beside are the other directories on the same disk.
	beside []disk

	at     string // dir, or its nearest parent that exists
	device uint64
	free   int64
}

// disks checks the disks that a build writes to. Images are those of the build, as far
// as registries told their sizes; engine is the Docker Engine's directory on this machine,
// or "".
func disks(o Options, images total, engine string) []Check {
	writers := []string{"all", "embed", "linuxkit", "kernel", "containers", "pull"}
	cachers := append([]string{"plan", "lock", "kit", "images"}, writers...)
	out := disk{name: "--out", dir: o.Out, need: bareOut, why: "a kernel and a root file system", remedy: "make room there, or choose another place with --out", breaks: writers}
	cache := disk{
		name: "--cache-dir", dir: o.Cache, need: bareCache, why: out.why, breaks: cachers,
		remedy: "make room there (`hookbuild cache prune` removes what was not used for long), or choose another place with --cache-dir",
	}
	embedded, fetched := images.All, images.Fetch
	switch {
	case images.images > 0:
		what := fmt.Sprintf("%s of %s", words.Count(images.images, "image"), words.Bytes(images.All))
		out.why, cache.why = what, what
		if fetched < embedded {
			cache.why += fmt.Sprintf(", of which %s are to be fetched", words.Bytes(fetched))
		}
		if o.Bundle {
			out.why += " and a bundle's"
			cache.why += " and a bundle's"
		}
	case o.Bundle:
		out.why += " with a bundle's images"
		cache.why = out.why
	}
	if n := images.unknown; n > 0 {
		without := fmt.Sprintf(", without %s of unknown size", words.Count(n, "embedded image"))
		out.why += without
		cache.why += without
	}
	if o.Bundle {
		embedded += bundleImages
		fetched += bundleImages
	}
	out.need += timesOut * embedded
	cache.need += timesCache * fetched
	if o.Compiles {
		cache.need += compiledCache
		cache.why += ", the kernel's source and what is compiled"
	}
	all := []disk{out, cache}
	if engine != "" && (o.Compiles || !o.Described) {
		breaks := []string{"kernel"}
		if o.Compiles {
			breaks = append(breaks, "all", "linuxkit", "lock")
		}
		all = append(all, disk{
			name: ofDocker, dir: engine, need: compiledDocker, why: "compiling a kernel, as Hook's recipe says", breaks: breaks, unsure: !o.Compiles,
			remedy: "make room there (`docker system df` shows what takes it), or use an engine with more (DOCKER_HOST), or a published kernel (--kernel latest)",
		})
	}
	var checks []Check
	errs := make([]error, len(all))
	for i := range all {
		errs[i] = all[i].look()
	}
	for i, d := range all {
		if errs[i] != nil {
			checks = append(checks, Check{Name: "disk of " + d.name, Status: Warn, Found: fmt.Sprintf("not known: %v", errs[i]), Remedy: fmt.Sprintf("see that it has %s for %s", words.Bytes(d.need), d.why)})
			continue
		}
		for j, other := range all {
			if j != i && errs[j] == nil && other.device == d.device && other.name != ofDocker {
				d.beside = append(d.beside, other)
			}
		}
		checks = append(checks, d.check())
	}
	return checks
}

// look finds the file system of the directory, or of its nearest existing parent.
func (d *disk) look() error {
	var err error
	if d.at, err = existing(d.dir); err != nil {
		return err
	}
	var at unix.Stat_t
	var s unix.Statfs_t
	if err := errors.Join(unix.Stat(d.at, &at), unix.Statfs(d.at, &s)); err != nil {
		return fmt.Errorf("looking at %q: %w", d.at, err)
	}
	d.device = uint64(at.Dev)                 //nolint:unconvert // the field's type differs between systems
	d.free = int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // as above; no disk is that large
	return nil
}

// check compares the free space with what is needed. The need is an estimate, so only
// less than half of it is a failure.
func (d *disk) check() Check {
	c := Check{Name: "disk of " + d.name, Status: OK}
	c.Found = fmt.Sprintf("%s free in %s; about %s needed for %s", words.Bytes(d.free), d.dir, words.Bytes(d.need), d.why)
	need := d.need
	for i, other := range d.beside {
		need += other.need
		c.Found += fmt.Sprintf("%s %s for %s", []string{", and on the same disk", " and"}[min(i, 1)], words.Bytes(other.need), other.name)
	}
	const half = 2
	switch {
	case d.name != ofDocker && unix.Access(d.at, unix.W_OK) != nil:
		c.Status, c.Found, c.Remedy = Fail, d.dir+" is not writable", "make it writable, or choose another place with "+d.name
		c.Commands, c.Breaks = d.breaks, strings.Join(d.breaks, ", ")
	case d.free < need/half && !d.unsure:
		c.Status, c.Remedy, c.Commands, c.Breaks = Fail, d.remedy, d.breaks, strings.Join(d.breaks, ", ")
	case d.free < need:
		c.Status, c.Remedy = Warn, d.remedy
	}
	return c
}

// existing returns dir, or the nearest parent that exists.
func existing(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	for ; err == nil; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return at, err
		}
	}
	return "", err
}
