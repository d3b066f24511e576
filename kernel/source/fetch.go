package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// mostSmall bounds signatures and lists of checksums; the list of all 6.x
// releases has 1 MB.
const mostSmall = 16 << 20

// ErrPinned is wrapped by the error about a release whose archive is another one
// than Options.SHA256 says.
var ErrPinned = errors.New("it is another archive than the one that was pinned")

// Fetch gives the verified archive of a release, from Options.Dir or from the
// first mirror that has it.
func Fetch(ctx context.Context, v Version, o Options) (*Archive, error) {
	keys, err := readKeyring(o.Keys)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, v.file()+".xz")
	have, err := keptArchive(file)
	if err != nil {
		return nil, err
	}
	if have != nil {
		if err := o.checkPinned(have.SHA256); err != nil {
			return nil, fmt.Errorf("taking the kept archive of Linux %s: %w", v, err)
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

// Sum gives the sha256 of a release's archive by kernel.org's signed list,
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

// fromMirrors asks one mirror after the other for something of a release.
func fromMirrors[T any](ctx context.Context, v Version, o Options, fetch func(base string) (T, error)) (T, error) {
	var nothing T
	var errs []error
	for _, mirror := range o.mirrors() {
		got, err := fetch(mirror + "/" + v.directory())
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return nothing, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("fetching Linux %s from %s: %w", v, mirror, err))
	}
	return nothing, fault.Mark(errors.Join(errs...), fault.Outside)
}

// listedSum finds an archive in the signed list of a mirror's directory.
func listedSum(ctx context.Context, base, archive string, keys openpgp.EntityList, o Options) (string, error) {
	sums, err := small(ctx, o, base+"/sha256sums.asc")
	if err != nil {
		return "", err
	}
	return signedSum(sums, archive, keys, o)
}

func (o Options) checkPinned(sum string) error {
	if o.SHA256 == "" || strings.ToLower(o.SHA256) == sum {
		return nil
	}
	return fault.Invalidf("its sha256 is %s and should be %s: %w", sum, o.SHA256, ErrPinned)
}

// keptArchive gives an archive that was verified before and is unchanged. A
// changed one is deleted.
func keptArchive(file string) (*Archive, error) {
	note, err := os.ReadFile(verifiedNote(file))
	if err != nil {
		return nil, nil // never verified
	}
	there, err := exists(file)
	if err != nil || !there {
		return nil, err
	}
	sum, err := hashFile(file)
	if err != nil {
		return nil, err
	}
	if sum == strings.TrimSpace(string(note)) {
		return &Archive{file, sum}, nil
	}
	return nil, errors.Join(os.Remove(file), os.Remove(verifiedNote(file)))
}

// verifiedNote is the file that has the checksum of a verified archive.
func verifiedNote(file string) string { return file + ".verified" }

// fetchFrom downloads and verifies one archive. The signatures come first: they
// are small, and without them the download would be in vain.
func fetchFrom(ctx context.Context, base string, v Version, file string, keys openpgp.EntityList, o Options) (*Archive, error) {
	want, err := listedSum(ctx, base, filepath.Base(file), keys, o)
	if err == nil {
		err = o.checkPinned(want)
	}
	if err != nil {
		return nil, err
	}
	signature, err := small(ctx, o, base+"/"+v.file()+".sign")
	if err != nil {
		return nil, err
	}
	if err := download(ctx, o, base+"/"+filepath.Base(file), file); err != nil {
		return nil, err
	}
	if err := verify(file, want, signature, keys, o); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return &Archive{file, want}, writeFile(verifiedNote(file), []byte(want+"\n"))
}

func verify(file, want string, signature []byte, keys openpgp.EntityList, o Options) error {
	if err := checkSum(file, want); err != nil {
		return err
	}
	task := progress.Start(o.Progress, 0, "verify the signature of %s", filepath.Base(file))
	return task.End(checkSignature(file, signature, keys, o), "")
}

func checkSum(file, want string) error {
	got, err := hashFile(file)
	if err != nil {
		return err
	}
	if got != strings.ToLower(want) {
		return fmt.Errorf("its sha256 is %s and should be %s: %w", got, want, ErrVerify)
	}
	return nil
}

// small fetches a file that fits in memory.
func small(ctx context.Context, o Options, url string) ([]byte, error) {
	if o.Offline {
		return nil, fmt.Errorf("fetching %q: %w", url, errOffline)
	}
	response, err := request(ctx, o, url, 0)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, &statusError{url, response.Status, response.StatusCode}
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, mostSmall+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", url, err)
	}
	if len(content) > mostSmall {
		return nil, fmt.Errorf("fetching %q: it has more than %d bytes", url, mostSmall)
	}
	return content, nil
}

// FromFile gives a local archive. A sha256, when given, is checked.
func FromFile(name, sum string) (*Archive, error) {
	got, err := hashFile(name)
	if err != nil {
		return nil, fault.Invalidf("reading the kernel's source: %w", err)
	}
	if sum != "" && got != strings.ToLower(sum) {
		return nil, fault.Invalidf("checking the kernel's source %q: its sha256 is %s and should be %s", name, got, sum)
	}
	return &Archive{name, got}, nil
}

// FromURL fetches an archive from any place. Only its sha256 says whether it
// is the right one; without it the server's word is all there is, which is a
// warning.
func FromURL(ctx context.Context, url, sum string, o Options) (*Archive, error) {
	if sum == "" {
		progress.Warnf(o.Progress, "%s is not checked against anything; give --sha256", url)
	}
	id := sha256.Sum256([]byte(url + "\x00" + sum))
	file := filepath.Join(o.Dir, hex.EncodeToString(id[:8])+"-"+path.Base(url))
	there, err := exists(file)
	if err == nil && !there {
		if err = os.MkdirAll(o.Dir, 0o755); err == nil {
			err = download(ctx, o, url, file)
		}
	}
	if err != nil {
		return nil, err
	}
	archive, err := FromFile(file, sum)
	if err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return archive, nil
}
