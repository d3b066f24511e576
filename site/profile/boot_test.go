//go:build e2e

package profile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// host is this machine as QEMU's user network shows it to the guest.
const host = "10.0.2.2"

// openHook opens the lab and pushes its images to a registry, below base, for the
// Hook checkout.
func openHook(t *testing.T) (l *lab.Lab, checkout, base string) {
	t.Helper()
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(quietRegistry())
	t.Cleanup(plain.Close)
	base = strings.TrimPrefix(plain.URL, "http://") + "/hook/"
	checkout = absolute(t, "../../testdata/hook")
	pushLab(t, l, checkout, base)
	return l, checkout, base
}

// TestProfileInAMachine boots a HookOS with a site profile. Its dockerd pulls from a
// registry whose certificate a private authority signed, with a login, and from a
// mirror of Docker Hub that another authority signed; the machine has a static
// address, a name server and a message of the day, and lets in a client with the
// profile's SSH key and no other.
func TestProfileInAMachine(t *testing.T) {
	ssh, keygen := testneed.Tool(t, "ssh"), testneed.Tool(t, "ssh-keygen")
	testneed.Tool(t, lab.Emulator("amd64"))
	work := t.TempDir()
	l, checkout, base := openHook(t)
	pushSSHD(t, l, base+"sshd:1")

	private := newAuthority(t, "Private Root")
	mirrors := newAuthority(t, "Mirror Root")
	registryHost := serveTLS(t, private, withLogin(quietRegistry(), "ci", "geheim"))
	mirrorHost := serveTLS(t, mirrors, quietRegistry())
	pushTLS(t, private, registryHost, "site/tool:1", remote.WithAuth(&authn.Basic{Username: "ci", Password: "geheim"}))
	pushTLS(t, mirrors, mirrorHost, "library/hub:1")

	write(t, filepath.Join(work, "private.pem"), private.pem())
	write(t, filepath.Join(work, "mirrors.pem"), mirrors.pem())
	write(t, filepath.Join(work, "password"), []byte("geheim\n"))
	for _, key := range []string{"right", "wrong"} {
		output(t, keygen, "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", filepath.Join(work, key))
	}
	const mac = "52:54:00:12:34:56"
	write(t, filepath.Join(work, "site.yaml"), fmt.Appendf(nil, `ca: [mirrors.pem]
registries: [{host: "%s", ca: private.pem, username: ci, password-file: password}]
docker-hub-mirrors: ["https://%s"]
proxy: {http: "http://proxy.invalid:3128", none: [%s]}
dns: {servers: [10.0.2.3], search: [site.example]}
network: {machines: [{mac: "%s", address: 10.0.2.77/24, gateway: %s}]}
ssh: {key-files: [right.pub]}
motd: Hello from the site
`, registryHost, mirrorHost, host, mac, host))
	write(t, filepath.Join(work, "sshd.yaml"), fmt.Appendf(nil, `services:
  - name: sshd
    image: %ssshd:1
    capabilities: [all]
    net: host
    pid: host
    binds: [ /run:/run ]
`, base))

	initramfsFile := buildProfile(t, l, work, checkout, base, "sshd.yaml")
	check := checkSegment(t, filepath.Join(work, "check.cpio"), registryHost)
	port := freePort(t)
	console := &watcher{want: "hookos-demo: output of check", seen: make(chan struct{})}
	logins := make(chan string, 1)
	go func() { logins <- logIn(t.Context(), ssh, work, port, console.seen) }()
	text, err := lab.Boot(t.Context(), lab.Machine{
		Arch: "amd64", Kernel: initramfsFile.kernel, Initramfs: []string{initramfsFile.initramfs, check}, MemoryMB: 2048,
		Cmdline: "quiet loglevel=3 hookbuild.demo=poweroff tink_worker_image=docker.io/library/hub:1", Timeout: 9 * time.Minute, Console: console,
		Extra: []string{"-netdev", fmt.Sprintf("user,id=n,hostfwd=tcp:127.0.0.1:%d-10.0.2.77:22", port), "-device", "virtio-net-pci,romfile=,netdev=n,mac=" + mac},
	})
	console.done()
	said := <-logins
	report := lab.ParseConsole(text)
	got := report.Sections["check"].Output
	for _, want := range []string{
		"pulled from the private registry", "refused without a login", "pulled from the mirror", "address: 10.0.2.77/24", "route: via 10.0.2.2",
		"motd: Hello from the site", "nameserver 10.0.2.3", "search site.example", "HTTP Proxy: http://proxy.invalid:3128", "somebody logged in by SSH",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the machine does not say %q", want)
		}
	}
	if !strings.Contains(said, "wrong key: refused") || !strings.Contains(said, "right key: hello") {
		t.Errorf("SSH: %s", said)
	}
	if err != nil || t.Failed() {
		t.Fatalf("%v\n%s", err, text[max(0, len(text)-12000):])
	}
	t.Logf("the machine says:\n%s\nSSH: %s", got, said)
}

type artifacts struct{ kernel, initramfs string }

// buildProfile builds a HookOS with the site.yaml and the overlay in work.
func buildProfile(t *testing.T, l *lab.Lab, work, checkout, base, overlay string) artifacts {
	t.Helper()
	kernel, err := l.Kernel(t.Context(), "amd64")
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	hookbuild := filepath.Join(work, "hookbuild")
	output(t, "go", "build", "-o", hookbuild, "hookbuild/cmd/hookbuild")
	out := filepath.Join(work, "out")
	cmd := exec.CommandContext(t.Context(), hookbuild, "linuxkit", "hook-latest-lts-amd64", "--hook-dir", checkout, "--kernel", "deb:"+kernel,
		"--overlay", filepath.Join(work, overlay), "--site", filepath.Join(work, "site.yaml"),
		"--insecure-registry", strings.TrimSuffix(base, "/hook/"), "--cache-dir", filepath.Join(work, "cache"), "--out", out, "--level", "1", "--progress", "plain")
	cmd.Env = append(os.Environ(), "HOOK_LK_CONTAINERS_OCI_BASE="+base)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if strings.Contains(read(t, filepath.Join(work, "site.yaml")), "-file:") != strings.Contains(string(said), "everyone who can fetch it") || strings.Contains(string(said), "geheim") {
		t.Errorf("the build does not warn of secrets, or shows one:\n%s", said)
	}
	return artifacts{filepath.Join(out, "hook/vmlinuz-x86_64"), filepath.Join(out, "hook/initramfs-x86_64")}
}

// checkSegment writes what the machine runs next to dockerd once it is up. It waits
// for the SSH client for two minutes, and cannot fail the boot.
func checkSegment(t *testing.T, file, registryHost string) string {
	t.Helper()
	script := `#!/bin/sh
login="docker --config /host_root/root/.docker"
docker --config /nowhere pull -q ` + registryHost + `/site/tool:1 2>&1 | grep -q "no basic auth credentials\|unauthorized" && echo "refused without a login"
$login pull -q ` + registryHost + `/site/tool:1 && echo "pulled from the private registry"
docker --config /nowhere pull -q hub:1 && echo "pulled from the mirror"
docker info 2>/dev/null | grep Proxy
echo "address: $(ip -4 addr show | grep 'inet 10')" | tr -s ' ' | sed 's/inet //'
echo "route: $(ip route | sed -n 's/^default //p')"
echo "motd: $(cat /host_root/etc/motd)"
cat /host_root/run/resolvconf/resolv.conf
ip -4 addr show | grep -q 'inet 10' || cat /host_root/var/log/site-network.log
n=0
until [ -e /host_root/run/logged-in ] || [ $n -ge 240 ]; do n=$((n + 1)); sleep 0.5; done
[ ! -e /host_root/run/logged-in ] || echo "somebody logged in by SSH"
`
	writeCheck(t, file, script)
	return file
}

// writeCheck writes an initramfs segment with the script that the machine runs.
func writeCheck(t *testing.T, file, script string) {
	t.Helper()
	var tree initramfs.Tree
	for _, dir := range []string{"etc", "etc/hookbuild-lab"} {
		if err := tree.Add(initramfs.Entry{Path: dir, Type: initramfs.Dir, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	e := initramfs.BytesFile("etc/hookbuild-lab/check.sh", []byte(script), initramfs.Epoch())
	e.Mode = 0o755
	if err := tree.Add(e); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &b, &tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
		t.Fatal(err)
	}
	write(t, file, b.Bytes())
}

// logIn tries both keys once the machine has come far enough, until the SSH server
// answers.
func logIn(ctx context.Context, ssh, work string, port int, ready <-chan struct{}) string {
	<-ready
	try := func(key, command string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, ssh, "-i", filepath.Join(work, key), "-F", "none", "-p", fmt.Sprint(port), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "root@127.0.0.1", command).CombinedOutput()
		return string(out), err
	}
	var said string
	for range 8 {
		out, err := try("wrong", "true")
		if err != nil && strings.Contains(out, "Permission denied") {
			said = "wrong key: refused; "
			break
		}
		said = fmt.Sprintf("wrong key: %v %s; ", err, out)
	}
	out, err := try("right", "echo hello; touch /run/logged-in")
	if err != nil {
		return said + fmt.Sprintf("right key: %v %s", err, out)
	}
	for line := range strings.Lines(out) {
		if strings.TrimSpace(line) == "hello" {
			return said + "right key: hello"
		}
	}
	return said + "right key: " + out
}

// watcher closes seen when the text it waits for has gone by.
type watcher struct {
	want string
	seen chan struct{}
	once sync.Once
	text []byte
}

func (w *watcher) Write(p []byte) (int, error) {
	w.text = append(w.text, p...)
	if bytes.Contains(w.text, []byte(w.want)) {
		w.done()
	}
	w.text = w.text[max(0, len(w.text)-len(w.want)):]
	return len(p), nil
}

func (w *watcher) done() { w.once.Do(func() { close(w.seen) }) }

func pushLab(t *testing.T, l *lab.Lab, checkout, base string) {
	t.Helper()
	images, err := l.Images(t.Context(), "amd64", os.DirFS(checkout))
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	if err := images.Push(t.Context(), base); err != nil {
		t.Fatal(err)
	}
}

// pushSSHD pushes an image of Debian's dropbear and a shell.
func pushSSHD(t *testing.T, l *lab.Lab, ref string) {
	t.Helper()
	debs, err := l.Packages(t.Context(), "amd64", "dropbear-bin", "busybox-static")
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	root := t.TempDir()
	for _, deb := range debs {
		output(t, testneed.Tool(t, "dpkg-deb"), "-x", deb, root)
	}
	for dir, mode := range map[string]fs.FileMode{"etc/dropbear": 0o755, "root": 0o700} {
		if err := os.MkdirAll(filepath.Join(root, dir), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"))
	write(t, filepath.Join(root, "etc/shells"), []byte("/bin/sh\n"))
	bin, err := filepath.EvalSymlinks(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(bin, "sh")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "touch"} {
		if err := os.Symlink("busybox", filepath.Join(bin, applet)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	config := v1.Config{Cmd: []string{"/usr/sbin/dropbear", "-F", "-E", "-R", "-s"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}
	push(t, ref, b.Bytes(), config)
}

func push(t *testing.T, ref string, layer []byte, config v1.Config, options ...remote.Option) {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err == nil {
		image, err = mutate.AppendLayers(image, l)
	}
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, append(options, remote.WithContext(t.Context()))...); err != nil {
		t.Fatal(err)
	}
}

// pushTLS pushes a small image to a server of serveTLS.
func pushTLS(t *testing.T, a *signer, host, repository string, options ...remote.Option) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "10.0.2.2"}}
	t.Cleanup(transport.CloseIdleConnections)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	text := []byte(repository)
	err = w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	push(t, "127.0.0.1:"+port+"/"+repository, b.Bytes(), v1.Config{Cmd: []string{"/file"}}, append(options, remote.WithTransport(transport))...)
}

// signer is a private certificate authority.
type signer struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T, name string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, c}
}

func (a *signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// serveTLS serves on loopback with a certificate for the guest's name of this
// machine, and returns HOST:PORT as the guest writes it.
func serveTLS(t *testing.T, a *signer, h http.Handler) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, port)
}

func quietRegistry() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

func withLogin(h http.Handler, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="site"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}
