package serve

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	text, err := c.Get(ctx, web.Request{URL: base + checksums, Most: mostChecksums}, func([]byte, http.Header) error { return nil })
	if err != nil {
		return fmt.Errorf("checking %s: reading %s: %w", base, checksums, err)
	}
	var wrong []error
	n := 0
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok || len(sum) != 2*sha512.Size || strings.ContainsAny(name, "/\\?#") {
			return fault.Invalidf("checking %s: the line %q of %s is not a SHA-512 sum and a name", base, strings.TrimSpace(line), checksums)
		}
		n++
		if err := checkFile(ctx, c, base+name, sum); err != nil {
			wrong = append(wrong, fmt.Errorf("checking %s%s: %w", base, name, err))
			continue
		}
		note(name + ": length, range and every byte as in " + checksums)
	}
	if n == 0 {
		wrong = append(wrong, fault.Invalidf("checking %s: %s lists nothing", base, checksums))
	}
	return errors.Join(wrong...)
}

// CheckBase checks what machines request below a hookImagesURLPath: the files in
// checksums.txt, as [Check] does, and that the names exist.
func CheckBase(ctx context.Context, c *web.Client, base string, names []string, note func(string)) error {
	wrong := []error{Check(ctx, c, base, note)}
	for _, name := range names {
		address := strings.TrimSuffix(base, "/") + "/" + name
		if _, _, err := c.Head(ctx, web.Request{URL: address, Pinned: true}); err != nil {
			wrong = append(wrong, fmt.Errorf("checking %s, which machines request: %w", address, err))
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
		return fmt.Errorf("checking the ISO image %s: %w", address, err)
	}
	note(address + ": length and range")
	return nil
}

func checkFile(ctx context.Context, c *web.Client, url, sum string) error {
	_, size, err := c.Head(ctx, web.Request{URL: url, Pinned: true})
	if err != nil {
		return err
	}
	if size > 1 {
		if err := checkRange(ctx, c, url, size); err != nil {
			return err
		}
	}
	body, err := c.Open(ctx, web.Request{URL: url, Pinned: true})
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
func checkRange(ctx context.Context, c *web.Client, url string, size int64) error {
	want := fmt.Sprintf("bytes %d-%d/%d", size-1, size-1, size)
	accept := func(answer *http.Response) error {
		if answer.StatusCode != http.StatusPartialContent || answer.Header.Get("Content-Range") != want {
			return fault.Invalidf("requesting only its last byte: the server answers %d with Content-Range %q, but BMCs and iPXE need ranges (206)", answer.StatusCode, answer.Header.Get("Content-Range"))
		}
		return nil
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", size-1, size-1)}}
	part, err := c.Get(ctx, web.Request{URL: url, Header: header, Pinned: true, Most: 1, Accept: accept}, func([]byte, http.Header) error { return nil })
	if err == nil && len(part) != 1 {
		err = fault.Invalidf("requesting its last byte: the server sends byte %d", len(part))
	}
	return err
}
