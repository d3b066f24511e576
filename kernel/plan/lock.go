package plan

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/source"
)

// LockFile is the file in which a checkout pins the releases that its kernels
// are built from. It has comments and one line per series, "6.6.32 sha256:...".
const LockFile = "kernel/versions.lock"

const lockHeader = "# The kernel releases that are built here. `hookbuild kernel FLAVOR --lock` pins the newest.\n"

// Pin is a release and the sha256, in hex, of its archive on kernel.org.
type Pin struct {
	Version source.Version
	SHA256  string
}

// String returns the pin's line in the file.
func (p Pin) String() string { return p.Version.String() + " sha256:" + p.SHA256 }

// Lock is the content of a [LockFile].
type Lock struct{ lines []lockLine }

// lockLine is a line as it was written, to preserve comments. Pin is nil if the
// line has no pin.
type lockLine struct {
	text string
	pin  *Pin
}

// mostLock limits the size of the lock, which has a line for each series.
const mostLock = 1 << 20

// ReadLock reads the lock of a checkout. A missing file is an empty lock.
func ReadLock(hookDir string) (Lock, error) {
	name := filepath.Join(hookDir, filepath.FromSlash(LockFile))
	text, err := bounded.ReadFile(name, mostLock)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, nil
	}
	if err != nil {
		return Lock{}, fault.Invalidf("reading the kernel versions' lock: %w", err)
	}
	l, err := parseLock(string(text))
	if err != nil {
		return Lock{}, fault.Invalidf("reading the kernel versions' lock %q: %w", name, err)
	}
	return l, nil
}

func parseLock(text string) (Lock, error) {
	var l Lock
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			l.lines = append(l.lines, lockLine{text: line})
			continue
		}
		pin, err := parsePin(line)
		if err != nil {
			return l, fmt.Errorf("line %d: %w", number, err)
		}
		if other, taken := l.Find(pin.Version.Series()); taken {
			return l, fmt.Errorf("line %d: the series %s is already pinned to %s; keep one of the two", number, pin.Version.Series(), other.Version)
		}
		l.lines = append(l.lines, lockLine{line, &pin})
	}
	return l, nil
}

func parsePin(line string) (Pin, error) {
	words := strings.Fields(line)
	bad := fmt.Errorf("%q is not a release and its checksum (6.6.32 sha256:...) or a comment", line)
	if len(words) != 2 {
		return Pin{}, bad
	}
	v, err := source.ParseVersion(words[0])
	if err != nil {
		return Pin{}, bad
	}
	sum, found := strings.CutPrefix(words[1], "sha256:")
	if raw, err := hex.DecodeString(sum); !found || err != nil || len(raw) != 32 {
		return Pin{}, bad
	}
	return Pin{v, strings.ToLower(sum)}, nil
}

// Find returns the pin of a series ("6.6").
func (l Lock) Find(series string) (Pin, bool) {
	for _, line := range l.lines {
		if line.pin != nil && line.pin.Version.Series() == series {
			return *line.pin, true
		}
	}
	return Pin{}, false
}

// with returns a lock in which p replaces the pin of its series. All other
// lines are kept, whatever their order. A new series goes before the first later one.
func (l Lock) with(p Pin) Lock {
	lines := slices.Clone(l.lines)
	if len(lines) == 0 {
		lines = append(lines, lockLine{text: strings.TrimSuffix(lockHeader, "\n")})
	}
	added := lockLine{p.String(), &p}
	sameSeries := func(l lockLine) bool { return l.pin != nil && l.pin.Version.Series() == p.Version.Series() }
	later := func(l lockLine) bool { return l.pin != nil && l.pin.Version.Compare(p.Version) > 0 }
	if i := slices.IndexFunc(lines, sameSeries); i >= 0 {
		lines[i] = added
		return Lock{lines}
	}
	if i := slices.IndexFunc(lines, later); i >= 0 {
		return Lock{slices.Insert(lines, i, added)}
	}
	return Lock{append(lines, added)}
}

// String returns the file's content.
func (l Lock) String() string {
	var text strings.Builder
	for _, line := range l.lines {
		text.WriteString(line.text + "\n")
	}
	return text.String()
}

// Locked is the result of locking. Old is nil if the series was not pinned.
type Locked struct {
	Old  *Pin
	New  Pin
	File string
}

// LockRelease pins the series of the request's flavor in the workspace's lock,
// to the request's point release or else to the newest. The archive's checksum
// comes from kernel.org's signed list. LockRelease builds nothing.
func LockRelease(ctx context.Context, r Request) (*Locked, error) {
	if r.Flavor.Method != flavor.Source {
		return nil, fault.Usagef("locking the kernel version of %s: %s", r.Flavor.ID, notBuilt)
	}
	if r.Source != "" {
		return nil, fault.Usagef("locking a kernel version: the lock pins releases of kernel.org; omit --source")
	}
	lock, err := ReadLock(r.HookDir)
	if err != nil {
		return nil, err
	}
	v, err := r.release(ctx)
	if err != nil {
		return nil, err
	}
	verified, err := r.verified()
	if err != nil {
		return nil, err
	}
	sum, err := source.Sum(ctx, v, verified)
	if err != nil {
		return nil, err
	}
	done := &Locked{New: Pin{v, sum}, File: filepath.Join(r.HookDir, filepath.FromSlash(LockFile))}
	if old, found := lock.Find(r.Flavor.Series); found {
		done.Old = &old
	}
	if err := replaceFile(done.File, []byte(lock.with(done.New).String())); err != nil {
		return nil, fmt.Errorf("writing the kernel versions' lock: %w", err)
	}
	return done, nil
}

// release returns the requested release or else the newest.
func (r Request) release(ctx context.Context) (source.Version, error) {
	if r.PointRelease != "" {
		return source.ParseVersion(r.Flavor.Series + "." + r.PointRelease)
	}
	return source.Latest(ctx, r.Flavor.Series, r.Download)
}
