package serve

import (
	"context"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// checksums is the list of the files in a build's directory.
const checksums = "checksums.txt"

// mostChecksums limits the size of that list.
const mostChecksums = 1 << 20

// Check requests every file that checksums.txt lists from a server, as machines do: the
// length by HEAD, a range (206), and every byte, which it compares with the list. Note
// receives a line for each file. The error names every file with a problem.
func Check(ctx context.Context, c *web.Client, base string, note func(string)) error {
	base = strings.TrimSuffix(base, "/") + "/"
	files, err := readChecksums(ctx, c, base)
	if err != nil {
		return fmt.Errorf("checking %s: %w", web.Show(base), elsewhere(ctx, c, base, err))
	}
	var wrong []error
	for _, f := range files {
		if err := checkFile(ctx, c, base+url.PathEscape(f.name), f.sum); err != nil {
			wrong = append(wrong, fmt.Errorf("checking %s: %w", web.Show(base+f.name), unreachable(err)))
			continue
		}
		note(f.name + ": length, range and every byte as in " + checksums)
	}
	return errors.Join(wrong...)
}

// readChecksums reads checksums.txt below base, which ends in a slash.
func readChecksums(ctx context.Context, c *web.Client, base string) ([]summed, error) {
	text, err := c.Get(ctx, web.Request{URL: base + checksums, Most: mostChecksums}, func([]byte, http.Header) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", checksums, unreachable(err))
	}
	return parseChecksums(string(text))
}

// mostPlaces limits the places where elsewhere looks. A build's address has a few
// directories, with two places each.
const mostPlaces = 8

// elsewhere completes the error of a server that answered, but has no checksums.txt
// below base: it names the place on the server that has one. Other errors are returned
// as they are.
func elsewhere(ctx context.Context, c *web.Client, base string, missing error) error {
	var status *web.StatusError
	if !errors.As(missing, &status) || status.Code != http.StatusNotFound && status.Code != http.StatusGone {
		return missing
	}
	all := places(base)
	near := all[:min(len(all), mostPlaces)]
	for _, place := range near {
		if _, err := readChecksums(ctx, c, place); err == nil { // a place without one is not an error
			return fmt.Errorf("%w: the server runs, but has no build there; %s has one: use that address", missing, web.Show(strings.TrimSuffix(place, "/")))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	above := "the directories above"
	if len(near) < len(all) {
		above = "the nearest directories above, where hookbuild looked"
	}
	return fmt.Errorf("%w: the server runs, but has no build there, nor in %s; name the address of the directory that has vmlinuz-x86_64, initramfs-x86_64 and %s, or copy all files of out/hook to it", missing, above, checksums)
}

// places returns where else on its server the build of base may be, nearest first: the
// directories above, and those named hook, as out/hook of a build. It stops soon after
// [mostPlaces].
func places(base string) []string {
	u, err := url.Parse(base)
	if err != nil {
		return nil
	}
	const hook = "hook/"
	var all []string
	if !strings.HasSuffix(u.Path, "/"+hook) {
		all = append(all, u.JoinPath(hook).String())
	}
	for at := u; strings.Trim(at.Path, "/") != "" && len(all) <= mostPlaces; {
		at = at.JoinPath("../")
		all = append(all, at.String())
		if inner := at.JoinPath(hook).String(); inner != base {
			all = append(all, inner)
		}
	}
	return all
}

// unreachable marks an error of a server, and says how its certificate can be trusted.
func unreachable(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		err = fmt.Errorf("%w; name its certificate authority with --ca-file FILE", err)
	}
	var refused *net.OpError
	if errors.As(err, &refused) {
		err = fmt.Errorf("%w; check the address, the network and that the server runs", err)
	}
	var status *web.StatusError
	if errors.As(err, &status) && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) {
		err = fmt.Errorf("%w; let it answer without a login, because machines send none", err)
	}
	return fault.Mark(err, fault.Outside)
}

// summed is a file in checksums.txt.
type summed struct{ name, sum string }

// parseChecksums returns the files in checksums.txt, which has at least one.
func parseChecksums(text string) ([]summed, error) {
	var files []summed
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		sum, name, ok := strings.Cut(line, " ")
		name, mode := strings.TrimPrefix(name, " "), strings.HasPrefix(name, " ")
		if text, binary := strings.CutPrefix(name, "*"); !mode && binary { // as sha512sum --binary writes it
			name, mode = text, true
		}
		raw, err := hex.DecodeString(sum)
		if !ok || !mode || err != nil || len(raw) != sha512.Size || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\") {
			return nil, fault.Invalidf("the line %q of %s is not a SHA-512 checksum and a file name", line, checksums)
		}
		files = append(files, summed{name, hex.EncodeToString(raw)})
	}
	if len(files) == 0 {
		return nil, fault.Invalidf("%s lists nothing", checksums)
	}
	return files, nil
}

// CheckBase checks what machines request below a hookImagesURLPath: the files in
// checksums.txt, as [Check] does, and that the names exist.
func CheckBase(ctx context.Context, c *web.Client, base string, names []string, note func(string)) error {
	wrong := []error{Check(ctx, c, base, note)}
	for _, name := range names {
		address := strings.TrimSuffix(base, "/") + "/" + name
		if _, _, err := c.Head(ctx, web.Request{URL: address, Pinned: true}); err != nil {
			wrong = append(wrong, fmt.Errorf("checking %s, which machines request: %w", web.Show(address), unreachable(err)))
		}
	}
	return errors.Join(wrong...)
}

// CheckISO checks that a server returns ranges of the ISO image at a hookIsoURL, as
// BMCs request them.
func CheckISO(ctx context.Context, c *web.Client, address string, note func(string)) error {
	_, size, err := c.Head(ctx, web.Request{URL: address, Pinned: true})
	if err == nil && size < 2 {
		err = fault.Invalidf("HEAD says that it has %d bytes", size)
	}
	if err == nil {
		err = checkRange(ctx, c, address, size)
	}
	if err != nil {
		return fmt.Errorf("checking the ISO image %s: %w", web.Show(address), unreachable(err))
	}
	note(web.Show(address) + ": length and range")
	return nil
}

func checkFile(ctx context.Context, c *web.Client, address, sum string) error {
	_, size, err := c.Head(ctx, web.Request{URL: address, Pinned: true})
	if err != nil {
		return err
	}
	if size > 1 {
		if err := checkRange(ctx, c, address, size); err != nil {
			return err
		}
	}
	body, err := c.Open(ctx, web.Request{URL: address, Pinned: true})
	if err != nil {
		return err
	}
	h := sha512.New()
	n, err := io.Copy(h, body)
	err = errors.Join(err, body.Close())
	switch {
	case err != nil:
		return err
	case n != size:
		return fault.Invalidf("it has %d bytes, but HEAD says %d", n, size)
	case hex.EncodeToString(h.Sum(nil)) != sum:
		return fault.Invalidf("its checksum differs from %s; check again if the files were replaced meanwhile", checksums)
	}
	return nil
}

// checkRange requests the last byte, as BMCs that mount an ISO do.
func checkRange(ctx context.Context, c *web.Client, address string, size int64) error {
	want := fmt.Sprintf("bytes %d-%d/%d", size-1, size-1, size)
	accept := func(answer *http.Response) error {
		if answer.StatusCode != http.StatusPartialContent || answer.Header.Get("Content-Range") != want {
			return fault.Invalidf("requesting only its last byte: the server answers %d with Content-Range %q, but BMCs and iPXE need ranges (206)", answer.StatusCode, answer.Header.Get("Content-Range"))
		}
		return nil
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", size-1, size-1)}}
	part, err := c.Get(ctx, web.Request{URL: address, Header: header, Pinned: true, Most: 1, Accept: accept}, func([]byte, http.Header) error { return nil })
	if err == nil && len(part) != 1 {
		err = fault.Invalidf("requesting its last byte: the server sends byte %d", len(part))
	}
	return err
}
