package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// mostSmall limits the size of signatures and lists of checksums; the list of
// all 6.x releases is 1 MB.
const mostSmall = 16 << 20

// ErrPinned is wrapped by the error about a release whose archive does not
// match Options.SHA256.
var ErrPinned = errors.New("it is not the archive that was pinned")

// Fetch returns the verified archive of a release, from Options.Dir or from the
// first mirror that has it.
func Fetch(ctx context.Context, v Version, o Options) (*Archive, error) {
	keys, err := readKeyring(o.Keys)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, v.file()+".xz")
	have, err := keptArchive(ctx, file)
	if err != nil {
		return nil, err
	}
	if have != nil {
		if err := o.checkPinned(have.SHA256); err != nil {
			return nil, fmt.Errorf("opening the kept archive of Linux %s: %w", v, err)
		}
		return have, nil
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("fetching Linux %s: %w", v, err)
	}
	return fromMirrors(ctx, v, o, func(base string) (*Archive, error) {
		return fetchFrom(ctx, base, v, file, keys, o)
	})
}

// Sum returns the sha256 of a release's archive in kernel.org's signed list,
// without fetching the archive.
func Sum(ctx context.Context, v Version, o Options) (string, error) {
	keys, err := readKeyring(o.Keys)
	if err != nil {
		return "", err
	}
	return fromMirrors(ctx, v, o, func(base string) (string, error) {
		return listedSum(ctx, base, v.file()+".xz", keys, o)
	})
}

// fromMirrors calls fetch for one mirror after the other until one succeeds.
func fromMirrors[T any](ctx context.Context, v Version, o Options, fetch func(base string) (T, error)) (T, error) {
	var nothing T
	var failed error
	for _, mirror := range o.mirrors() {
		got, err := fetch(below(mirror, v.directory()))
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return nothing, ctx.Err()
		}
		err = fmt.Errorf("fetching Linux %s from %s: %w", v, web.Show(mirror), err)
		if failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
	}
	return nothing, fault.Outsidef("%w; check the network and HTTPS_PROXY, or name an archive with --source or a mirror with --source-mirror", failed)
}

// below returns the address of a file or directory of a mirror. A query, such as a
// signature, stays behind the path.
func below(base, name string) string {
	path, query, found := strings.Cut(base, "?")
	path = strings.TrimRight(path, "/") + "/" + name
	if found {
		path += "?" + query
	}
	return path
}

// listedSum returns an archive's checksum in the signed list of a mirror's
// directory.
func listedSum(ctx context.Context, base, archive string, keys openpgp.EntityList, o Options) (string, error) {
	sums, err := small(ctx, o, below(base, "sha256sums.asc"), mostSmall, wholeList)
	if err != nil {
		return "", err
	}
	return signedSum(sums, archive, keys, o)
}

func (o Options) checkPinned(sum string) error {
	if o.SHA256 == "" || strings.ToLower(o.SHA256) == sum {
		return nil
	}
	return fault.Invalidf("its sha256 is %s, want %s: %w", sum, o.SHA256, ErrPinned)
}

// Kept returns the size of a release's archive if o.Dir has it from an earlier
// download that was verified, else 0.
func Kept(v Version, o Options) (int64, error) {
	file := filepath.Join(o.Dir, v.file()+".xz")
	if _, err := os.Stat(verifiedNote(file)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the kernel's source: %w", err)
	}
	return info.Size(), nil
}

// keptArchive returns the archive if it was verified before and has not
// changed. It deletes an archive that has changed.
func keptArchive(ctx context.Context, file string) (*Archive, error) {
	note, err := os.ReadFile(verifiedNote(file))
	if err != nil {
		return nil, nil //nolint:nilerr // never verified, or not readable: it is fetched again
	}
	there, err := exists(file)
	if err != nil || !there {
		return nil, err
	}
	sum, err := digest.OfFile(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", file, err)
	}
	if digest.Hex(sum) == strings.TrimSpace(string(note)) {
		return &Archive{file, digest.Hex(sum)}, nil
	}
	return nil, errors.Join(os.Remove(file), os.Remove(verifiedNote(file)))
}

// verifiedNote returns the name of the file that holds the checksum of a
// verified archive.
func verifiedNote(file string) string { return file + ".verified" }

// fetchFrom downloads and verifies one archive. It fetches the signatures
// first: they are small, and without them the download would be useless.
func fetchFrom(ctx context.Context, base string, v Version, file string, keys openpgp.EntityList, o Options) (*Archive, error) {
	want, err := listedSum(ctx, base, filepath.Base(file), keys, o)
	if err == nil {
		err = o.checkPinned(want)
	}
	if err != nil {
		return nil, err
	}
	signature, err := small(ctx, o, below(base, v.file()+".sign"), mostSmall, anything)
	if err != nil {
		return nil, err
	}
	if err := downloadWhole(ctx, o, below(base, filepath.Base(file)), file, want); err != nil {
		return nil, err
	}
	if err := verify(file, signature, keys, o); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return &Archive{file, want}, writeFile(verifiedNote(file), []byte(want+"\n"))
}

// downloadWhole downloads an archive with a known checksum. If the first
// attempt has another checksum, it starts over: part of the file may be from an
// older download.
func downloadWhole(ctx context.Context, o Options, url, file, want string) error {
	for last := false; ; last = true {
		if err := download(ctx, o, url, true, file); err != nil {
			return err
		}
		err := checkSum(ctx, file, want)
		if err == nil {
			return nil
		}
		if err := errors.Join(err, os.Remove(file)); last || !errors.Is(err, errVerify) {
			return err
		}
	}
}

func verify(file string, signature []byte, keys openpgp.EntityList, o Options) error {
	task := progress.Start(o.Progress, 0, "verify the signature of %s", filepath.Base(file))
	return task.End(checkSignature(file, signature, keys, o), "")
}

func checkSum(ctx context.Context, file, want string) error {
	sum, err := digest.OfFile(ctx, file)
	if err != nil {
		return fmt.Errorf("reading %q: %w", file, err)
	}
	if got := digest.Hex(sum); got != strings.ToLower(want) {
		return fmt.Errorf("its sha256 is %s, want %s: %w", got, want, errVerify)
	}
	return nil
}

// FromFile returns a local archive. It compares the archive with sum unless sum
// is empty. An archive that is larger than what is downloaded is refused.
func FromFile(ctx context.Context, name, sum string) (*Archive, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > mostArchive {
		err = fmt.Errorf("%q has %d bytes, more than %d; name an archive of the kernel's source", name, info.Size(), int64(mostArchive))
	}
	if err != nil {
		return nil, fault.Invalidf("reading the kernel's source: %w", err)
	}
	found, err := digest.OfFile(ctx, name)
	if err != nil {
		return nil, fault.Invalidf("reading the kernel's source: %w", err)
	}
	got := digest.Hex(found)
	if sum != "" && got != strings.ToLower(sum) {
		return nil, fault.Invalidf("checking the kernel's source %q: its sha256 is %s, want %s", name, got, sum)
	}
	return &Archive{name, got}, nil
}

// Checksum splits an address from the checksum that it may carry
// (URL#sha256=HEX). That checksum must not contradict sum.
func Checksum(source, sum string) (address, sha256 string, err error) {
	address, pin, err := web.Split(source)
	switch {
	case err != nil:
		return "", "", err
	case sum == "":
		return address, pin, nil
	case pin != "" && !strings.EqualFold(sum, pin):
		return "", "", fault.Usagef("fetching %q: --sha256 and the address have different checksums; omit one", web.Show(address))
	}
	return address, sum, nil
}

// FromURL fetches an archive from any server. Only its sha256, in sum or in the
// address (URL#sha256=HEX), shows whether it is the right one. FromURL warns if
// there is no sha256.
func FromURL(ctx context.Context, source, sum string, o Options) (*Archive, error) {
	url, sum, err := Checksum(source, sum)
	if err != nil {
		return nil, err
	}
	if sum == "" {
		progress.Warnf(o.Progress, "%s is not verified: add --sha256", web.Show(url))
	}
	id := sha256.Sum256([]byte(url + "\x00" + sum))
	file := filepath.Join(o.Dir, hex.EncodeToString(id[:8])+"-"+path.Base(web.Show(url)))
	there, err := exists(file)
	if err == nil && !there {
		if err = os.MkdirAll(o.Dir, 0o755); err == nil {
			err = download(ctx, o, url, sum != "", file)
		}
	}
	if err != nil {
		return nil, err
	}
	archive, err := FromFile(ctx, file, sum)
	if err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return archive, nil
}
