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
		return readFile(location)
	case web.IsURL(location):
		return r.readURL(ctx, location)
	case scheme == "file":
		return readFile(path)
	case scheme == "embed":
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
		return nil, tooLong()
	}
	return data, err
}

// readURL fetches a manifest, which may carry its checksum as [web.Split] reads
// it.
func (r *Resolver) readURL(ctx context.Context, location string) ([]byte, error) {
	address, sum, err := web.Split(location)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(address); err != nil {
		return nil, fault.Usagef("%q is not an address; correct it", web.Show(address))
	}
	if r.Offline {
		return nil, fault.Outsidef("%q is not asked because of --offline; give the manifest as a file with --bundle", web.Show(address))
	}
	if sum == "" && web.IsPlain(address) {
		progress.Notef(r.Progress, "%s comes over plain HTTP and is not checked: add #sha256=HEX to the address", web.Show(address))
	}
	task := progress.Start(r.Progress, 0, "fetch %s", web.Show(address))
	wrong := 0
	data, err := r.client().Get(ctx, web.Request{URL: address, Most: maxManifest, Pinned: sum != ""}, func(data []byte, _ http.Header) error {
		got := sha256.Sum256(data)
		if sum == "" || hex.EncodeToString(got[:]) == sum {
			return nil
		}
		err := fault.Invalidf("its sha256 is %x and should be %s: check the address and the checksum", got, sum)
		if wrong++; wrong > 1 { // nothing on the way spoilt it
			return web.Final(err)
		}
		return err
	})
	return data, task.End(fault.Mark(explain(err), fault.Outside), "")
}

// explain adds what a user can do about an error of a web server's.
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
	return fmt.Errorf("%w; check the network and HTTPS_PROXY, or give the manifest as a file with --bundle", err)
}

func tooLong() error {
	return fault.Invalidf("it has more than %d MiB, a manifest has less than 1 MiB; check where it was taken from", maxManifest>>20)
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

func (r *Resolver) client() *web.Client {
	if r.Web != nil {
		return r.Web
	}
	return web.New(web.Options{Progress: r.Progress})
}
