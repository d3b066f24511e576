package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// read returns the content of a file or URL, at most maxManifest bytes.
func (r *Resolver) read(ctx context.Context, location string) ([]byte, error) {
	scheme, path, ok := strings.Cut(location, "://")
	switch {
	case !ok:
		return readFile(location, nameManifest)
	case web.IsURL(location):
		return r.readURL(ctx, location)
	case scheme == "file":
		return readFile(path, nameManifest)
	case scheme == "embed":
		return nil, fault.Invalidf("%q is inside the eksctl-anywhere program; name its bundle manifest with --bundle", location)
	}
	return nil, fault.Invalidf("%q is neither a file nor an https:// or http:// URL; use one of these", location)
}

// nameManifest is the remedy where a bundle's manifest cannot be read.
const nameManifest = "name a manifest file"

// readFile returns the content of a file, at most maxManifest bytes. Remedy ends
// the error if it cannot be opened.
func readFile(name, remedy string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalidf("%w; %s", err, remedy)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fault.Invalidf("%q is a directory; %s", name, manifestIn(name))
	}
	return readBounded(f)
}

// manifestIn returns the remedy for a directory: the manifest in it, if it is one of
// eksctl's downloads.
func manifestIn(dir string) string {
	candidate := filepath.Join(dir, "bundle-release.yaml")
	if _, err := os.Stat(candidate); errors.Is(err, fs.ErrNotExist) {
		return nameManifest
	}
	return fmt.Sprintf("name the manifest in it, %q", candidate)
}

func readBounded(from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		return nil, tooLong()
	}
	return data, err
}

// readURL fetches a manifest. The URL may have a checksum, see [web.Split].
func (r *Resolver) readURL(ctx context.Context, location string) ([]byte, error) {
	address, sum, err := web.Split(location)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(address); err != nil {
		return nil, fault.Usagef("%q is not a valid URL; correct it", web.Show(address))
	}
	if r.Offline {
		return nil, fault.Outsidef("fetching %q: --offline forbids it; name the manifest as a file with --bundle", web.Show(address))
	}
	if sum == "" && web.IsPlain(address) {
		progress.Notef(r.Progress, "%s is fetched over plain HTTP and is not checked; add #sha256=HEX to the URL", web.Show(address))
	}
	task := progress.Start(r.Progress, 0, "fetch %s", web.Show(address))
	wrong := 0
	data, err := r.client().Get(ctx, web.Request{URL: address, Most: maxManifest, Pinned: sum != ""}, func(data []byte, _ http.Header) error {
		got := sha256.Sum256(data)
		if sum == "" || hex.EncodeToString(got[:]) == sum {
			return nil
		}
		err := fault.Invalidf("its sha256 is %x and should be %s; check the URL and the checksum", got, sum)
		if wrong++; wrong > 1 { // not a transfer error
			return web.Final(err)
		}
		return err
	})
	return data, task.End(fault.Mark(explain(err), fault.Outside), "")
}

// explain adds the remedy to an error of a web server.
func explain(err error) error {
	var status *web.StatusError
	var long *web.LengthError
	switch {
	case err == nil, errors.Is(err, context.Canceled), fault.KindOf(err) != fault.Failed:
		return err
	case errors.As(err, &status):
		return fmt.Errorf("%w; %s", err, remedy(status.Code))
	case errors.As(err, &long):
		return tooLong()
	}
	return fmt.Errorf("%w; check the network and HTTPS_PROXY, or name the manifest as a file with --bundle", err)
}

func tooLong() error {
	return fault.Invalidf("it has more than %d MiB, the limit; a bundle manifest usually has less than one; check its origin", maxManifest>>20)
}

// remedy returns what to do about an HTTP status.
func remedy(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return "the server or proxy requires a user name and password; add them to the URL or to HTTPS_PROXY"
	case http.StatusForbidden, http.StatusNotFound:
		return "there is no such manifest (AWS answers 403 for it); check the version or the URL"
	}
	return "try again later, or name the manifest as a file with --bundle"
}

func (r *Resolver) client() *web.Client {
	if r.Web != nil {
		return r.Web
	}
	return web.New(web.Options{Progress: r.Progress})
}
