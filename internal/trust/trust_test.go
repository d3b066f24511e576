package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// authority is a private certificate authority.
type authority struct {
	t           *testing.T
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a site's authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	var der []byte
	der, a.key = a.sign(a.certificate)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// pair returns a certificate and its key in PEM form.
func (a *authority) pair(usage x509.ExtKeyUsage) (certificate, key []byte) {
	a.t.Helper()
	der, private := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	})
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// start serves HTTPS and returns host:port. With clients it asks for a
// certificate that clients signed.
func (a *authority) start(clients *authority) string {
	a.t.Helper()
	certificate, key := a.pair(x509.ExtKeyUsageServerAuth)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		a.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		pool := x509.NewCertPool()
		pool.AddCert(mustParse(a.t, clients.pem))
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://")
}

func mustParse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask makes a request with the certificates of s.
func ask(t *testing.T, s Store, host string) error {
	t.Helper()
	general, err := s.TLS()
	if err != nil {
		t.Fatal(err)
	}
	c := web.New(web.Options{TLS: general, ForHost: s.ForHost, Limits: web.Limits{Tries: 1}})
	_, _, err = c.Head(t.Context(), web.Request{URL: "https://" + host + "/"})
	return err
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAndHosts(t *testing.T) {
	a := newAuthority(t)
	host, dir := a.start(nil), t.TempDir()
	write(t, dir+"/ca.pem", append([]byte("a comment\n"), a.pem...))
	write(t, dir+"/certs.d/"+host+"/ca.crt", a.pem)
	write(t, dir+"/elsewhere/other:443/ca.crt", a.pem)
	for name, tc := range map[string]struct {
		s  Store
		ok bool
	}{
		"nothing":                    {Store{}, false},
		"a file":                     {Store{Files: []string{dir + "/ca.pem"}}, true},
		"Docker's directory":         {Store{Dirs: []string{dir + "/none", dir + "/certs.d"}}, true},
		"a directory of another one": {Store{Dirs: []string{dir + "/elsewhere"}}, false},
		"a text for the host":        {Store{Hosts: map[string][]byte{host: a.pem}}, true},
		"a text for another host":    {Store{Hosts: map[string][]byte{"127.0.0.1:1": a.pem}}, false},
	} {
		if err := ask(t, tc.s, host); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is said of HOST:443 applies to https://HOST, and the reverse; another port is
// another server.
func TestPortOfHTTPS(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	write(t, dir+"/kept.example/ca.crt", a.pem)
	write(t, dir+"/kept.example:8443/ca.crt", []byte("no certificate"))
	s := Store{Dirs: []string{dir}, Hosts: map[string][]byte{"mirror.example:443": a.pem, "[2001:db8::1]:443": a.pem}, Unverified: []string{"lab.example"}}
	for host, want := range map[string]bool{
		"mirror.example": true, "mirror.example:443": true, "mirror.example:5000": false, "[2001:db8::1]": true,
		"kept.example": true, "kept.example:443": true, "lab.example:443": true, "lab.example:80": false, "other.example": false, "": false,
	} {
		config, err := s.ForHost(host)
		if err != nil || (config != nil) != want {
			t.Errorf("%q has a configuration of its own: %t, %v, want %t", host, config != nil, err, want)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	a, clients := newAuthority(t), newAuthority(t)
	host, dir := a.start(clients), t.TempDir()
	at := dir + "/" + host
	write(t, at+"/ca.crt", a.pem)
	s := Store{Dirs: []string{dir}}
	if err := ask(t, s, host); err == nil {
		t.Error("the server asks for no certificate")
	}
	certificate, key := clients.pair(x509.ExtKeyUsageClientAuth)
	write(t, at+"/client.cert", certificate)
	if err := ask(t, s, host); err == nil || !strings.Contains(err.Error(), `add "client.key"`) {
		t.Errorf("without the key: %v", err)
	}
	write(t, at+"/client.key", key)
	if err := ask(t, s, host); err != nil {
		t.Error(err)
	}
	if err := os.Remove(at + "/client.cert"); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, s, host); err == nil || !strings.Contains(err.Error(), `add "client.cert"`) {
		t.Errorf("without the certificate: %v", err)
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/empty", nil)
	write(t, dir+"/key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	write(t, dir+"/damaged", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for file, want := range map[string]string{
		"/none": "no such file", "/empty": "it has no certificate", "/key": "it has no certificate", "/damaged": "certificate 1: ",
	} {
		_, err := Store{Files: []string{dir + file}}.TLS()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir+file) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", file, err)
		}
	}
}
