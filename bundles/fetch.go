package bundles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// attempts is how often a manifest is asked for when the server or the line
// breaks.
const attempts = 3

// read gives the content of a file or URL, at most maxManifest bytes.
func (r *Resolver) read(ctx context.Context, location string) ([]byte, error) {
	scheme, path, ok := strings.Cut(location, "://")
	if !ok {
		return readFile(location)
	}
	switch scheme {
	case "https", "http":
		return r.readURL(ctx, location)
	case "file":
		return readFile(path)
	case "embed":
		return nil, fault.Invalidf("%q is inside of the eksctl-anywhere program; give its bundle manifest with --bundle", location)
	}
	return nil, fault.Invalidf("%q is neither https:// nor http:// nor a file; give one of these", location)
}

func readFile(name string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalidf("%w; give the path of a manifest", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fault.Invalidf("%q is a directory; %s", name, manifestIn(name))
	}
	return readBounded(f)
}

// manifestIn says which file of a directory, such as eksctl's downloads, may
// have been meant.
func manifestIn(dir string) string {
	candidate := filepath.Join(dir, "bundle-release.yaml")
	if _, err := os.Stat(candidate); errors.Is(err, fs.ErrNotExist) {
		return "give the path of a manifest"
	}
	return fmt.Sprintf("give %q", candidate)
}

func readBounded(from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		return nil, fault.Invalidf("it has more than %d MiB, a manifest has less than 1 MiB; check where it was taken from", maxManifest>>20)
	}
	return data, err
}

// readURL asks again, after a pause, when the server or the line broke.
func (r *Resolver) readURL(ctx context.Context, location string) (data []byte, err error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fault.Usagef("%w; correct the address", err)
	}
	if r.Offline {
		return nil, fault.Outsidef("%q is not asked because of --offline; give the manifest as a file with --bundle", u.Redacted())
	}
	task := progress.Start(r.Progress, 0, "fetch %s", u.Redacted())
	for try := range attempts {
		var again bool
		if data, again, err = r.get(ctx, u); err == nil || !again {
			break
		}
		if try < attempts-1 && !sleep(ctx, r.backoff()<<try) {
			break
		}
	}
	return data, task.End(fault.Mark(err, fault.Outside), "")
}

// get makes one request; again says that a further one may go better.
func (r *Resolver) get(ctx context.Context, u *url.URL) (_ []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return nil, ctx.Err() == nil, fmt.Errorf("%w; is the network (or HTTPS_PROXY) right? A manifest can also be given as a file with --bundle", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode >= 500, fmt.Errorf("getting %q: the server answered %q; %s", u.Redacted(), resp.Status, remedy(resp.StatusCode))
	}
	data, err := readBounded(resp.Body)
	if err != nil {
		return nil, fault.KindOf(err) != fault.Invalid && ctx.Err() == nil, fmt.Errorf("getting %q: %w", u.Redacted(), err)
	}
	return data, false, nil
}

// remedy says what a status means on the way to a manifest.
func remedy(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return "the server or proxy wants a name and password"
	case http.StatusForbidden, http.StatusNotFound:
		return "there is no such manifest (AWS answers 403 for it); check the version or address"
	}
	return "try again later, or give the manifest as a file with --bundle"
}

func (r *Resolver) client() *http.Client {
	if r.HTTP == nil {
		return http.DefaultClient
	}
	return r.HTTP
}

func (r *Resolver) backoff() time.Duration {
	if r.Backoff == 0 {
		return time.Second
	}
	return r.Backoff
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
