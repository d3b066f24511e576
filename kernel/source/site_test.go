package source

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ulikunitz/xz"

	"hookbuild/internal/web"
)

// site is a kernel.org in the test process, with its own signing key.
type site struct {
	*httptest.Server
	t       *testing.T
	signer  *openpgp.Entity
	files   map[string][]byte
	cut     atomic.Int64 // bytes after which transfers of archives break
	asked   atomic.Int64 // requests for anything
	started []string     // Range headers of requests for archives
}

func newSigner(t *testing.T) *openpgp.Entity {
	t.Helper()
	signer, err := openpgp.NewEntity("Kernel.org test signer", "", "test@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newSite serves Linux 6.6.32 with everything that belongs to it.
func newSite(t *testing.T) *site {
	s := &site{t: t, signer: newSigner(t), files: map[string][]byte{}}
	plain := tarOf(t)
	packed := compress(t, plain)
	s.files["/v6.x/linux-6.6.32.tar.xz"] = packed
	s.files["/v6.x/linux-6.6.32.tar.sign"] = detached(t, s.signer, plain)
	s.files["/v6.x/sha256sums.asc"] = clearSigned(t, s.signer, fmt.Sprintf("%x  linux-6.6.31.tar.xz\n%x  linux-6.6.32.tar.xz\n", sha256.Sum256(nil), sha256.Sum256(packed)))
	s.files["/releases.json"] = []byte(`{"latest_stable":{"version":"6.9.1"},"releases":[
		{"moniker":"mainline","version":"6.10-rc1"},{"moniker":"stable","version":"6.9.1"},{"moniker":"longterm","version":"6.6.32"},
		{"moniker":"longterm","version":"5.10.217"},{"moniker":"linux-next","version":"next-20240523"}]}`)
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	content, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, ".tar.xz") {
		s.started = append(s.started, r.Header.Get("Range"))
		if cut := s.cut.Swap(0); cut > 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, err := w.Write(content[:cut])
			if err = errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
				s.t.Log(err)
			}
			panic(http.ErrAbortHandler)
		}
	}
	http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(content))
}

func (s *site) options() Options {
	return Options{Dir: s.t.TempDir(), Mirrors: []string{s.URL}, ReleasesURL: s.URL + "/releases.json", Keys: armoured(s.t, s.signer), Web: quick()}
}

// quick returns a client with which a test does not wait.
func quick() *web.Client {
	return web.New(web.Options{Limits: web.Limits{Header: 200 * time.Millisecond, Idle: 200 * time.Millisecond, Tries: 4, Pause: time.Millisecond}})
}

func tarOf(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	content := bytes.Repeat([]byte("obj-$(CONFIG_ENIC) += enic.o\n"), 5000)
	if err := w.WriteHeader(&tar.Header{Name: "linux-6.6.32/Makefile", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compress(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func detached(t *testing.T, signer *openpgp.Entity, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&out, signer, bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func clearSigned(t *testing.T, signer *openpgp.Entity, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, signer.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func armoured(t *testing.T, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, key := range keys {
		w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(key.Serialize(w), w.Close()); err != nil {
			t.Fatal(err)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}
