package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

const (
	// mostArchive bounds an archive; Linux 6.12 has 150 MB.
	mostArchive = 2 << 30
	// attempts is how often one server is asked again after a broken transfer.
	attempts = 4
)

// errOffline is the reason when --offline forbids a download.
var errOffline = errors.New("it is not there yet, and --offline forbids fetching it")

// request asks for a URL from the given offset on.
func request(ctx context.Context, o Options, url string, from int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", url, err)
	}
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := o.client().Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", url, err)
	}
	return response, nil
}

// download fetches url into file. What came of an interrupted download stays
// in file.part and the next one goes on where it ended.
func download(ctx context.Context, o Options, url, file string) error {
	if o.Offline {
		return fault.Outsidef("fetching %q: %w", url, errOffline)
	}
	part := file + ".part"
	var err error
	for try := range attempts {
		if err = sleep(ctx, try); err != nil {
			return err
		}
		if err = downloadPart(ctx, o, url, part); err == nil {
			return os.Rename(part, file)
		}
		var final *statusError
		if ctx.Err() != nil || errors.As(err, &final) && final.code < 500 {
			break
		}
	}
	return fault.Mark(err, fault.Outside)
}

// sleep waits longer before each further try.
func sleep(ctx context.Context, try int) error {
	if try == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(try*try) * 200 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// statusError is an answer that is not the file.
type statusError struct {
	url    string
	status string
	code   int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("fetching %q: the server answers %s", e.url, e.status)
}

func downloadPart(ctx context.Context, o Options, url, part string) (err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keeping the download of %q: %w", url, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	from, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("keeping the download of %q: %w", url, err)
	}
	response, err := request(ctx, o, url, from)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		// The part is whole already, or not of this file: begin again.
		return errors.Join(f.Truncate(0), fmt.Errorf("fetching %q: the server does not go on at byte %d", url, from))
	case http.StatusOK:
		from = 0
		if err := restart(f); err != nil {
			return err
		}
	default:
		return &statusError{url, response.Status, response.StatusCode}
	}
	return copyBody(o, f, response, url, from)
}

func restart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return errors.Join(err, f.Truncate(0))
}

func copyBody(o Options, f *os.File, response *http.Response, url string, from int64) error {
	total := int64(0)
	if response.ContentLength >= 0 {
		total = from + response.ContentLength
	}
	task := progress.Start(o.Progress, total, "fetch %s", url)
	task.Add(from)
	n, err := io.Copy(f, io.LimitReader(task.Reader(response.Body), mostArchive-from+1))
	switch {
	case err != nil:
		err = fmt.Errorf("fetching %q: %w", url, err)
	case from+n > mostArchive:
		err = errors.Join(restart(f), fmt.Errorf("fetching %q: it has more than %d bytes", url, mostArchive))
	case total > 0 && from+n != total:
		err = fmt.Errorf("fetching %q: the transfer ended after %d of %d bytes", url, from+n, total)
	default:
		err = f.Sync()
	}
	return task.End(err, "")
}

// hashFile gives a file's sha256 in hex.
func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %q: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeFile replaces a small file at once.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed, as it should
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func exists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func sortVersions(list []string) {
	slices.SortFunc(list, func(a, b string) int {
		v, errV := ParseVersion(a)
		w, errW := ParseVersion(b)
		if errV != nil || errW != nil {
			return len(a) - len(b)
		}
		return v.Compare(w)
	})
}
