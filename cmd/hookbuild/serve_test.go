package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hookbuild test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	kerneltest.WriteFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}))
	kerneltest.WriteFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	return cert, key
}

// serving runs serve in the background and returns its address. It ends with the test.
func serving(t *testing.T, args ...string) (address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, stdout := io.Pipe()
	var stderr strings.Builder
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--progress", "plain"}, args...), environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr,
		})
		stdout.Close() // of a pipe: it never fails
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 && code != exitInterrupted {
			t.Errorf("serve: exit code %d\n%s", code, stderr.String())
		}
	})
	for text := bufio.NewScanner(lines); text.Scan(); {
		if found, ok := strings.CutPrefix(text.Text(), "hookImagesURLPath: "); ok {
			return found
		}
	}
	t.Fatalf("serve does not print its address:\n%s", stderr.String())
	return ""
}

// TestServeHTTPS checks a server with a private certificate authority, which only
// --ca-file makes known.
func TestServeHTTPS(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	out := t.TempDir()
	if got := runAt(t.Context(), s, allArgs(t, s, sharedCache(t), out)...); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	cert, key := selfSigned(t)
	address := serving(t, "--tls-cert", cert, "--tls-key", key, filepath.Join(out, "hook"))
	if !strings.HasPrefix(address, "https://127.0.0.1:") {
		t.Errorf("the address is %s", address)
	}
	got := runAt(t.Context(), s, "serve", "--check", address, "--progress", "plain")
	if got.code != 4 || !strings.Contains(got.stderr, "certificate") || !strings.Contains(got.stderr, "--ca-file") {
		t.Errorf("without --ca-file: exit code %d\n%s", got.code, got.stderr)
	}
	got = runAt(t.Context(), s, "serve", "--check", address, "--ca-file", cert, "--progress", "plain")
	if got.code != 0 || !strings.Contains(got.stderr, "initramfs-x86_64: length, range and every byte") {
		t.Errorf("with --ca-file: exit code %d\n%s", got.code, got.stderr)
	}
	got = runAt(t.Context(), s, "serve", "--check", strings.Replace(address, "https:", "http:", 1), "--ca-file", cert, "--progress", "plain")
	if got.code == 0 {
		t.Error("the server answers without TLS too")
	}
}
