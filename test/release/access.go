package release

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// Access says who may read a registry, and how it misbehaves. The zero value is
// one on plain HTTP that everybody may read.
type Access struct {
	// TLS serves with a certificate of an authority of its own.
	TLS bool
	// User and Password are asked for by Basic authentication; "" for nobody.
	User, Password string
	// Wrap wraps the registry, behind the login; it may be nil.
	Wrap func(http.Handler) http.Handler
}

func (a Access) before(h http.Handler) http.Handler {
	if a.Wrap != nil {
		h = a.Wrap(h)
	}
	if a.User == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != a.User || password != a.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// recorder keeps the Authorization headers of requests.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) before(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if value := request.Header.Get("Authorization"); value != "" {
			r.mu.Lock()
			if !slices.Contains(r.seen, value) {
				r.seen = append(r.seen, value)
			}
			r.mu.Unlock()
		}
		h.ServeHTTP(w, request)
	})
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// handlerTransport answers requests by a handler, without a network.
type handlerTransport struct{ h http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	recorded := httptest.NewRecorder()
	served := r.Clone(r.Context())
	if served.Body == nil {
		served.Body = http.NoBody
	}
	t.h.ServeHTTP(recorded, served)
	answer := recorded.Result()
	answer.Request = r
	return answer, nil
}

// identity is a certificate for loopback and the authority that vouches for it,
// which is itself.
type identity struct {
	certificate tls.Certificate
	pem         []byte
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hookbuild's tests"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return &identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

func (i *identity) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.certificate}, MinVersion: tls.VersionTLS12}
}

// Slow returns a handler that sends content in pieces of n bytes, each by
// itself, so that a client sees many small reads.
func Slow(n int) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&slowWriter{w, n}, r) })
	}
}

type slowWriter struct {
	http.ResponseWriter
	n int
}

// Write implements [io.Writer].
func (s *slowWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		n, err := s.ResponseWriter.Write(p[:min(s.n, len(p))])
		written += n
		if err != nil {
			return written, err
		}
		if f, ok := s.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		p = p[n:]
	}
	return written, nil
}

// Broken returns a handler that breaks off every answer to GET for which breaks
// returns a number of bytes of 0 or more, after so many.
func Broken(breaks func(*http.Request) int64) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if after := breaks(r); after >= 0 && r.Method == http.MethodGet {
				h.ServeHTTP(&brokenWriter{w, after}, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

type brokenWriter struct {
	http.ResponseWriter
	left int64
}

// Write implements [io.Writer]. At the end of what is left it breaks the
// connection.
func (b *brokenWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= b.left {
		n, err := b.ResponseWriter.Write(p)
		b.left -= int64(n)
		return n, err
	}
	_, _ = b.ResponseWriter.Write(p[:b.left]) // the connection breaks here anyway
	if f, ok := b.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}
