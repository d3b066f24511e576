// Package enginetest runs a second Docker Engine on this machine, and what lies
// between an engine on another machine and its user: TLS, an SSH server, and a
// connection that breaks.
package enginetest

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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookbuild/test/testneed"
)

// Engine is a dockerd with images, containers and volumes of its own. It is
// stopped when the test ends.
type Engine struct {
	// Address is where it listens with TLS, as HOST:PORT, and Socket the socket
	// where it listens without.
	Address, Socket string
	// Certs has ca.pem, cert.pem and key.pem, for both ends of a connection.
	Certs string

	dir     string
	command *exec.Cmd
}

// New prepares an engine. Start starts it.
func New(t testing.TB) *Engine {
	t.Helper()
	testneed.Docker(t)
	testneed.Root(t)
	dir := t.TempDir()
	e := &Engine{Address: freeAddress(t), Socket: filepath.Join(dir, "sock"), Certs: dir, dir: dir}
	writeKeys(t, dir)
	write(t, filepath.Join(dir, "daemon.json"), "{}")
	t.Cleanup(func() {
		e.Stop(t)
		// An engine that was killed leaves its directory mounted on itself.
		if err := syscall.Unmount(filepath.Join(dir, "data"), syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	return e
}

// Host returns the engine's address as --builder takes it.
func (e *Engine) Host() string { return "tcp://" + e.Address }

// Start starts the engine on what it had when it was stopped, and waits until it
// answers.
func (e *Engine) Start(t testing.TB) {
	t.Helper()
	driver, err := local(t.Context(), "info", "--format", "{{.Driver}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(e.dir, name) }
	log, err := os.OpenFile(in("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := os.Remove(in("pid")); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was killed
		t.Fatal(err)
	}
	e.command = exec.Command(testneed.Tool(t, "dockerd"), "--config-file", in("daemon.json"), "--data-root", in("data"), "--exec-root", in("exec"),
		"--pidfile", in("pid"), "--host", e.Host(), "--host", "unix://"+e.Socket, "--bridge=none", "--iptables=false", "--storage-driver", strings.TrimSpace(string(driver)),
		"--tlsverify", "--tlscacert", in("ca.pem"), "--tlscert", in("cert.pem"), "--tlskey", in("key.pem"))
	e.command.Stdout, e.command.Stderr = log, log
	e.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := e.command.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for e.Docker(ctx, "version").Run() != nil {
		select {
		case <-ctx.Done():
			said, err := os.ReadFile(in("log"))
			t.Fatalf("the engine does not answer: %v\n%s", err, said[max(0, len(said)-4000):])
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the engine in good order.
func (e *Engine) Stop(t testing.TB) { e.end(t, syscall.SIGTERM) }

// Kill ends the engine as a crash does. Its containers continue until it is
// started again.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "exec", "containerd", "containerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	containerd, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	e.end(t, syscall.SIGKILL)
	// Its containerd dies with it, which the next engine must see.
	deadline := time.Now().Add(time.Minute)
	for syscall.Kill(containerd, 0) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the engine's containerd does not end")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (e *Engine) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if e.command == nil {
		return
	}
	if err := e.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = e.command.Wait() // it ends by the signal
	e.command = nil
}

// Docker returns the docker command for the engine.
func (e *Engine) Docker(ctx context.Context, args ...string) *exec.Cmd {
	return docker(ctx, e.Socket, args...)
}

// Load copies an image from this machine's engine.
func (e *Engine) Load(t testing.TB, image string) {
	t.Helper()
	save, load := local(t.Context(), "save", image), e.Docker(t.Context(), "load")
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

// local returns the docker command for this machine's engine.
func local(ctx context.Context, args ...string) *exec.Cmd {
	return docker(ctx, "/var/run/docker.sock", args...)
}

func docker(ctx context.Context, socket string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "docker", append([]string{"--host", "unix://" + socket}, args...)...)
	c.Env = append(os.Environ(), "DOCKER_TLS_VERIFY=", "DOCKER_CERT_PATH=")
	return c
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeKeys writes a certificate authority, and a certificate with its key that
// serves for both ends of a connection on this machine.
func writeKeys(t testing.TB, dir string) {
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
		write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))
	}
}
