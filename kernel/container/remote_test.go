//go:build e2e

// A second engine needs an image and a storage of its own, so this test is for
// go test -tags e2e.

package container

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// writeKeys writes a certificate authority, and a certificate with its key that
// serves for both ends of a connection on this machine.
func writeKeys(t *testing.T, dir string) {
	t.Helper()
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "cert"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, IsCA: i == 0, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if i == 0 {
			authority, authorityKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, authority, &key.PublicKey, authorityKey)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		kerneltest.WriteFile(t, filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		kerneltest.WriteFile(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	}
}

// remote is a dockerd of its own that is reached over TCP with TLS.
type remote struct {
	dir, host string
	command   *exec.Cmd
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	testneed.Docker(t)
	testneed.Root(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{dir: t.TempDir(), host: "tcp://" + listener.Addr().String()}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	writeKeys(t, r.dir)
	kerneltest.WriteFile(t, filepath.Join(r.dir, "daemon.json"), []byte("{}"))
	t.Setenv("DOCKER_CERT_PATH", r.dir)
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	t.Cleanup(func() { r.stop(t) })
	return r
}

// start starts the engine on what it had when it was stopped.
func (r *remote) start(t *testing.T) {
	t.Helper()
	ask := exec.Command("docker", "--host", "unix:///var/run/docker.sock", "info", "--format", "{{.Driver}}")
	ask.Env = append(os.Environ(), "DOCKER_TLS_VERIFY=", "DOCKER_CERT_PATH=")
	driver, err := ask.Output()
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(r.dir, name) }
	log, err := os.OpenFile(in("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r.command = exec.Command(testneed.Tool(t, "dockerd"), "--config-file", in("daemon.json"), "--data-root", in("data"), "--exec-root", in("exec"),
		"--pidfile", in("pid"), "--host", r.host, "--bridge=none", "--iptables=false", "--storage-driver", strings.TrimSpace(string(driver)),
		"--tlsverify", "--tlscacert", in("ca.pem"), "--tlscert", in("cert.pem"), "--tlskey", in("key.pem"))
	r.command.Stdout, r.command.Stderr = log, log
	r.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for r.docker(ctx, "version").Run() != nil {
		select {
		case <-ctx.Done():
			said, err := os.ReadFile(in("log"))
			t.Fatalf("the engine does not answer: %v\n%s", err, said)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *remote) docker(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "docker", append([]string{"--host", r.host, "--tlsverify"}, args...)...)
}

func (r *remote) stop(t *testing.T) {
	t.Helper()
	if r.command == nil {
		return
	}
	if err := r.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = r.command.Wait() // it ends by the signal
	r.command = nil
}

// load copies an image into the engine.
func (r *remote) load(t *testing.T, image string) {
	t.Helper()
	save := exec.Command("docker", "--host", "unix:///var/run/docker.sock", "save", image)
	save.Env = append(os.Environ(), "DOCKER_TLS_VERIFY=", "DOCKER_CERT_PATH=")
	load := r.docker(t.Context(), "load")
	pipe, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load.Stdin = pipe
	if err := save.Start(); err != nil {
		t.Fatal(err)
	}
	out, err := load.CombinedOutput()
	if err := errors.Join(err, save.Wait()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestRemoteEngine works on a second engine over TCP with TLS, which goes away in
// the middle: the error says what to do, and the next run continues.
func TestRemoteEngine(t *testing.T) {
	base := kerneltest.Base(t)
	r := newRemote(t)
	r.start(t)
	r.load(t, base)
	said := &record{t: t}
	connect := func() *Builder {
		t.Helper()
		b, err := Open(t.Context(), Options{Engine: r.host, Image: base, LogDir: t.TempDir(), Progress: said})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	source := Source{Archive: sourceTar(t, time.Now(), "Kbuild", "a.c"), SHA256: "cab1e123beef4567"}
	target := Target{Flavor: "test-remote", Arch: "x86_64", Source: source}
	b := connect()
	lost := job{target: target, step: "unpack", script: unpackScript, image: base, prepare: func(ctx context.Context, id string) error {
		r.stop(t)
		return b.sendArchive(ctx, id, source)
	}}
	err := b.run(t.Context(), lost)
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "the connection to the Docker engine "+r.host+" was lost") || !strings.Contains(err.Error(), "run this again when it answers") {
		t.Errorf("an engine that went away: %v", err)
	}
	if _, err := Open(t.Context(), Options{Engine: r.host}); err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), r.host) {
		t.Errorf("an engine that does not answer: %v", err)
	}
	r.start(t)
	b = connect()
	if err := b.ensureSource(t.Context(), target, base); err != nil {
		t.Fatalf("after the engine came back: %v", err)
	}
	if got, _ := b.fileIn(t, target, "/src/linux/a.c"); !strings.Contains(got, "COMMAND_LINE_SIZE") {
		t.Errorf("the source on the other engine is %q", got)
	}
	t.Setenv("DOCKER_CERT_PATH", "")
	if _, err := Open(t.Context(), Options{Engine: r.host}); err == nil {
		t.Error("the engine lets a client in without a certificate")
	}
}
