package plan

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/source"
	"hookbuild/test/kerneltest"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
)

func writeLock(t *testing.T, r Request, text string) {
	t.Helper()
	kerneltest.WriteFile(t, filepath.Join(r.HookDir, LockFile), []byte(text))
}

func TestLockPins(t *testing.T) {
	r := request(t)
	writeLock(t, r, "# why\n5.10.1 sha256:"+sumB+"\n6.6.30 sha256:"+strings.ToUpper(sumA)+"\n")
	for point, want := range map[string]struct{ version, sum string }{
		"":   {"6.6.30", sumA},
		"30": {"6.6.30", sumA},
		"31": {"6.6.31", ""}, // the requested release wins, and the lock does not have it
	} {
		r.PointRelease, r.Download.Offline = point, true
		p, err := Resolve(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		sum := ""
		if p.Pinned != nil {
			sum = p.Pinned.SHA256
		}
		if p.Version.String() != want.version || sum != want.sum {
			t.Errorf("with the point release %q: %s, %q; want %v", point, p.Version, sum, want)
		}
	}
	r.PointRelease = ""
	r.Source = sourceArchive(t, "9")
	if p, err := Resolve(t.Context(), r); err != nil || p.Version.String() != "6.6.9" || p.Pinned != nil {
		t.Errorf("a source of one's own: %+v, %v", p, err)
	}
}

func TestLockErrors(t *testing.T) {
	for text, want := range map[string]string{
		"6.6.30\n":                                                 "line 1: \"6.6.30\" is not a release and its checksum",
		"# x\n\n6.6.30 sha256:abc\n":                               "line 3:",
		"6.6.30 sha512:" + sumA + "\n":                             "line 1:",
		"6.6.30 sha256:" + sumA + " more\n":                        "line 1:",
		"latest sha256:" + sumA + "\n":                             `line 1: "latest sha256:`,
		"6.6.30 sha256:" + sumA + "\n6.6.31 sha256:" + sumA + "\n": "line 2: the series 6.6 is already pinned to 6.6.30",
	} {
		r := request(t)
		writeLock(t, r, text)
		_, err := Resolve(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "versions.lock") || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v; want %q", text, err, want)
		}
	}
}

// TestHugeLock refuses a lock of 200 MB without reading it to its end.
func TestHugeLock(t *testing.T) {
	r := request(t)
	writeLock(t, r, "# ours\n")
	if err := os.Truncate(filepath.Join(r.HookDir, LockFile), 200<<20); err != nil {
		t.Fatal(err)
	}
	for what, read := range map[string]func() error{
		"resolving": func() error { _, err := Resolve(t.Context(), r); return err },
		"pinning":   func() error { _, err := LockRelease(t.Context(), r); return err },
	} {
		err := read()
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "versions.lock") || !strings.Contains(err.Error(), "more than the 1 MiB") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func pin(t *testing.T, version, sum string) Pin {
	t.Helper()
	v, err := source.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	return Pin{v, sum}
}

// TestLockWith changes one line and keeps the others unchanged.
func TestLockWith(t *testing.T) {
	l, err := parseLock("# ours\n5.10.1 sha256:" + sumA + "\n\n# 6.6.40 breaks our NIC\n  6.6.30   sha256:" + sumA + "\n")
	if err != nil {
		t.Fatal(err)
	}
	got := l.with(pin(t, "6.6.31", sumB)).with(pin(t, "6.1.5", sumB)).with(pin(t, "6.12", sumA)).String()
	want := "# ours\n5.10.1 sha256:" + sumA + "\n\n# 6.6.40 breaks our NIC\n6.1.5 sha256:" + sumB + "\n6.6.31 sha256:" + sumB + "\n6.12 sha256:" + sumA + "\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	one := Lock{}.with(pin(t, "6.6.31", sumB)).with(pin(t, "5.10.2", sumA)).String()
	if other := (Lock{}).with(pin(t, "5.10.2", sumA)).with(pin(t, "6.6.31", sumB)).String(); one != other || !strings.HasPrefix(one, "# ") {
		t.Errorf("the order of pinning shows:\n%s\n%s", one, other)
	}
}

func TestLockRefuses(t *testing.T) {
	r := request(t)
	r.Source = "x.tar.xz"
	if _, err := LockRelease(t.Context(), r); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--source") {
		t.Errorf("with a source: %v", err)
	}
	armbian, err := flavor.Upstream().Find("armbian-uefi-x86-edge")
	if err != nil {
		t.Fatal(err)
	}
	r.Source, r.Flavor = "", armbian
	if _, err := LockRelease(t.Context(), r); err == nil || fault.KindOf(err) != fault.Usage {
		t.Errorf("for Armbian's: %v", err)
	}
	r = request(t)
	if _, err := LockRelease(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no keyring") {
		t.Errorf("without keys: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.HookDir, LockFile)); !os.IsNotExist(err) {
		t.Errorf("a lock was written: %v", err)
	}
}

// mirror serves a signed list with the archive of Linux 6.6.32, and
// returns the keyring for it.
func mirror(t *testing.T) (url string, keys []byte) {
	t.Helper()
	signer, err := openpgp.NewEntity("Test", "", "test@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var list, ring bytes.Buffer
	text, err := clearsign.Encode(&list, signer.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(text, "%s  linux-6.6.31.tar.xz\n%s  linux-6.6.32.tar.xz\n", sumB, sumA)
	if err := errors.Join(err, text.Close()); err != nil {
		t.Fatal(err)
	}
	block, err := armor.Encode(&ring, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(signer.Serialize(block), block.Close()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v6.x/sha256sums.asc" {
			t.Errorf("%s was asked for", r.URL)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(list.Bytes()))
	}))
	t.Cleanup(server.Close)
	return server.URL, ring.Bytes()
}

func TestLockRelease(t *testing.T) {
	r := request(t)
	url, keys := mirror(t)
	kerneltest.WriteFile(t, filepath.Join(r.HookDir, "kernel/keys.asc"), keys)
	r.Download.Mirrors = []string{url}
	for _, c := range []struct{ point, old, want string }{
		{"31", "", "6.6.31 sha256:" + sumB},
		{"32", "6.6.31 sha256:" + sumB, "6.6.32 sha256:" + sumA},
	} {
		r.PointRelease = c.point
		locked, err := LockRelease(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		old := ""
		if locked.Old != nil {
			old = locked.Old.String()
		}
		text, err := os.ReadFile(locked.File)
		if locked.New.String() != c.want || old != c.old || err != nil || string(text) != lockHeader+c.want+"\n" {
			t.Errorf("locking %s: %+v; the file is %q, %v", c.point, locked, text, err)
		}
	}
	r.PointRelease, r.Download.Offline = "", true
	p, err := Resolve(t.Context(), r)
	if err != nil || p.Version.String() != "6.6.32" || p.Pinned == nil {
		t.Fatalf("with the lock: %+v, %v", p, err)
	}
	writeLock(t, r, "6.6.32 sha256:"+sumB+"\n")
	r.Download.Offline = false
	if p, err = Resolve(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_, err = p.Target(t.Context())
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "hookbuild kernel hook-latest-lts-amd64 --lock") {
		t.Errorf("a lock that is of another archive gives %v (%d)", err, fault.KindOf(err))
	}
}
