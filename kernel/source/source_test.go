package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

var wanted = Version{6, 6, 32}

func TestFetch(t *testing.T) {
	s := newSite(t)
	o := s.options()
	o.Keys = armoured(t, newSigner(t), s.signer) // several blocks, as in upstream's file
	archive, err := Fetch(t.Context(), wanted, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(archive.Path)
	if err != nil || !bytes.Equal(got, s.files["/v6.x/linux-6.6.32.tar.xz"]) {
		t.Errorf("the archive has %d bytes, %v", len(got), err)
	}
	asked := s.asked.Load()
	o.Offline = true
	again, err := Fetch(t.Context(), wanted, o)
	if err != nil || *again != *archive || s.asked.Load() != asked {
		t.Errorf("the second time: %v, %v, %d more requests", again, err, s.asked.Load()-asked)
	}
	if err := os.WriteFile(archive.Path, got[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	o.Offline = false
	if _, err := Fetch(t.Context(), wanted, o); err != nil {
		t.Errorf("after the kept archive was damaged: %v", err)
	}
}

// TestPinned fetches an archive whose checksum is known.
func TestPinned(t *testing.T) {
	s := newSite(t)
	o := s.options()
	sum, err := Sum(t.Context(), wanted, o)
	if want := fmt.Sprintf("%x", sha256.Sum256(s.files["/v6.x/linux-6.6.32.tar.xz"])); err != nil || sum != want || len(s.started) > 0 {
		t.Fatalf("the listed sum is %s, %v; want %s and no archive fetched (%q)", sum, err, want, s.started)
	}
	o.SHA256 = strings.Repeat("0", 64)
	for _, state := range []string{"not there", "kept"} {
		if _, err := Fetch(t.Context(), wanted, o); !errors.Is(err, ErrPinned) {
			t.Errorf("another archive, %s: %v", state, err)
		}
		if state == "not there" && len(s.started) > 0 {
			t.Errorf("another archive was fetched: %q", s.started)
		}
		o.SHA256 = strings.ToUpper(sum)
		if _, err := Fetch(t.Context(), wanted, o); err != nil {
			t.Errorf("the pinned archive: %v", err)
		}
		o.SHA256 = strings.Repeat("1", 64)
	}
	o.Offline = true
	if _, err := Sum(t.Context(), wanted, o); fault.KindOf(err) != fault.Outside {
		t.Errorf("offline: %v", err)
	}
}

func TestResume(t *testing.T) {
	s := newSite(t)
	s.cut.Store(100)
	archive, err := Fetch(t.Context(), wanted, s.options())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.started) != 2 || s.started[1] != "bytes=100-" {
		t.Errorf("the requests had the ranges %q; the second should go on at byte 100", s.started)
	}
	if sum, err := digest.OfFile(t.Context(), archive.Path); err != nil || digest.Hex(sum) != archive.SHA256 {
		t.Errorf("the resumed archive has the sum %s, %v; want %s", sum, err, archive.SHA256)
	}
}

// TestResumeOfAnotherFile leaves a part that does not belong to the archive.
func TestResumeOfAnotherFile(t *testing.T) {
	for _, size := range []int{50, 1 << 20} {
		s := newSite(t)
		o := s.options()
		part := filepath.Join(o.Dir, "linux-6.6.32.tar.xz.part")
		if err := os.WriteFile(part, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Fetch(t.Context(), wanted, o); err != nil {
			t.Errorf("with a wrong part of %d bytes: %v", size, err)
		}
	}
}

func TestSecondMirror(t *testing.T) {
	s, broken := newSite(t), httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	o := s.options()
	o.Mirrors = []string{broken.URL, s.URL}
	if _, err := Fetch(t.Context(), wanted, o); err != nil {
		t.Error(err)
	}
}

// TestRefused changes one thing at a time; nothing may be kept.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*site, *Options)
		want   string
	}{
		"checksum": {func(s *site, _ *Options) {
			b := s.files["/v6.x/linux-6.6.32.tar.xz"]
			b[len(b)/2] ^= 1
		}, "its sha256 is"},
		"sums changed": {func(s *site, _ *Options) {
			s.files["/v6.x/sha256sums.asc"] = bytes.Replace(s.files["/v6.x/sha256sums.asc"], []byte("6.6.32"), []byte("6.6.33"), 1)
		}, "signature of sha256sums.asc is bad"},
		"sums unsigned": {func(s *site, _ *Options) { s.files["/v6.x/sha256sums.asc"] = []byte("abc  linux-6.6.32.tar.xz\n") }, "not clear-signed"},
		"not listed": {func(s *site, _ *Options) {
			s.files["/v6.x/sha256sums.asc"] = clearSigned(s.t, s.signer, "abc  linux-6.6.32.tar.xz\n")
		}, "does not list linux-6.6.32.tar.xz"},
		"other signer": {func(s *site, o *Options) { o.Keys = armoured(s.t, newSigner(s.t)) }, "not in the keyring (update kernel/keys.asc)"},
		"other archive signed": {func(s *site, _ *Options) {
			s.files["/v6.x/linux-6.6.32.tar.sign"] = detached(s.t, s.signer, []byte("something else"))
		}, "signature of the archive is bad"},
		"archive signed by another": {func(s *site, _ *Options) {
			s.files["/v6.x/linux-6.6.32.tar.sign"] = detached(s.t, newSigner(s.t), tarOf(s.t))
		}, "signature of the archive is by a key that is not in the keyring"},
		"no signature": {func(s *site, _ *Options) { delete(s.files, "/v6.x/linux-6.6.32.tar.sign") }, "404"},
		"no keys":      {func(_ *site, o *Options) { o.Keys = []byte("nothing") }, "holds no public key"},
		"expired": {func(s *site, o *Options) {
			old := newExpired(s.t)
			s.resign(old)
			o.Keys = armoured(s.t, old)
		}, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			o := s.options()
			c.change(s, &o)
			_, err := Fetch(t.Context(), wanted, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v; it should say %q", err, c.want)
			}
			if kept, err := filepath.Glob(filepath.Join(o.Dir, "linux-6.6.32.tar.xz*")); err != nil || len(kept) > 0 {
				t.Errorf("%q was kept, %v", kept, err)
			}
		})
	}
}

// newExpired returns a key that was created ten days ago with a validity of one
// day.
func newExpired(t *testing.T) *openpgp.Entity {
	t.Helper()
	then := func() time.Time { return time.Now().Add(-240 * time.Hour) }
	key, err := openpgp.NewEntity("Old", "", "old@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: then, KeyLifetimeSecs: 86400})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// resign signs the checksums again.
func (s *site) resign(signer *openpgp.Entity) {
	s.files["/v6.x/sha256sums.asc"] = clearSigned(s.t, signer, fmt.Sprintf("%x  linux-6.6.32.tar.xz\n", sha256.Sum256(s.files["/v6.x/linux-6.6.32.tar.xz"])))
}

// TestGPGSigned uses GnuPG for the key and the signatures.
func TestGPGSigned(t *testing.T) {
	gpg := testneed.Tool(t, "gpg")
	home := t.TempDir()
	run := func(stdin []byte, args ...string) []byte {
		t.Helper()
		command := exec.Command(gpg, append([]string{"--homedir", home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		command.Stdin = bytes.NewReader(stdin)
		var errs bytes.Buffer
		command.Stderr = &errs
		out, err := command.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v\n%s", args, err, &errs)
		}
		return out
	}
	run(nil, "--quick-generate-key", "Autosigner <auto@example.org>", "rsa2048", "sign", "never")
	t.Cleanup(func() { run(nil, "--version") })
	s := newSite(t)
	o := s.options()
	o.Keys = run(nil, "--armor", "--export")
	s.files["/v6.x/sha256sums.asc"] = run([]byte(fmt.Sprintf("%x  linux-6.6.32.tar.xz\n", sha256.Sum256(s.files["/v6.x/linux-6.6.32.tar.xz"]))), "--clearsign")
	s.files["/v6.x/linux-6.6.32.tar.sign"] = run(tarOf(t), "--armor", "--detach-sign")
	if _, err := Fetch(t.Context(), wanted, o); err != nil {
		t.Error(err)
	}
}

type notes struct{ text []string }

func (n *notes) Report(e progress.Event) {
	if e.Kind == progress.Warning {
		n.text = append(n.text, e.Text)
	}
}

func TestLatest(t *testing.T) {
	s := newSite(t)
	o := s.options()
	now := time.Date(2024, 5, 25, 12, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	warnings := &notes{}
	o.Progress = warnings
	latest := func(series, want string, requests int64) {
		t.Helper()
		before := s.asked.Load()
		got, err := Latest(t.Context(), series, o)
		if err != nil || got.String() != want {
			t.Errorf("the latest %s is %v, %v; want %s", series, got, err, want)
		}
		if asked := s.asked.Load() - before; asked != requests {
			t.Errorf("%s: %d requests, want %d", series, asked, requests)
		}
	}
	latest("6.6", "6.6.32", 1)
	latest("5.10", "5.10.217", 0) // from the stored list
	s.files["/releases.json"] = []byte(`{"releases":[{"version":"6.6.40"},{"version":"6.6.9"}]}`)
	now = now.Add(119 * time.Minute)
	latest("6.6", "6.6.32", 0)
	now = now.Add(2 * time.Minute)
	latest("6.6", "6.6.40", 1)
	if len(warnings.text) != 0 {
		t.Errorf("warnings: %q", warnings.text)
	}
	latest("5.10", "5.10.217", 0)
	if len(warnings.text) != 1 || !strings.Contains(warnings.text[0], "has left kernel.org's list") {
		t.Errorf("a series that has left the list: %q", warnings.text)
	}
	now = now.Add(3 * time.Hour)
	s.files["/releases.json"] = []byte("<html>maintenance</html>")
	latest("6.6", "6.6.40", 1)
	if len(warnings.text) != 2 || !strings.Contains(warnings.text[1], "using the list of 2024-05-25 14:01") {
		t.Errorf("a broken list: %q", warnings.text)
	}
	o.Offline = true
	latest("6.6", "6.6.40", 0)
	_, err := Latest(t.Context(), "4.19", o)
	if err == nil || !strings.Contains(err.Error(), "6.6.40") || fault.KindOf(err) != fault.Outside {
		t.Errorf("an unknown series gives %v", err)
	}
}

// releasesJSON has the form of kernel.org's list in the weeks after a release of the
// mainline.
const releasesJSON = `{
    "latest_stable": {"version": "6.10.1"},
    "releases": [
        {"iseol": false, "version": "6.10", "moniker": "mainline", "source": "https://git.kernel.org/torvalds/t/linux-6.10.tar.gz", "pgp": null,
         "released": {"timestamp": 1720994280, "isodate": "2024-07-14"}, "gitweb": "https://git.kernel.org/torvalds/h/v6.10", "changelog": null,
         "diffview": "https://git.kernel.org/torvalds/ds/v6.10/v6.9", "patch": {"full": "https://git.kernel.org/torvalds/p/v6.10/v6.9", "incremental": null}},
        {"iseol": false, "version": "6.10.1", "moniker": "stable", "source": "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.10.1.tar.xz",
         "pgp": "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.10.1.tar.sign", "released": {"timestamp": 1721837281, "isodate": "2024-07-24"},
         "changelog": "https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.10.1"},
        {"iseol": true, "version": "6.8.12", "moniker": "stable", "released": {"timestamp": 1717056001, "isodate": "2024-05-30"}, "changelog": null},
        {"iseol": false, "version": "6.6.40", "moniker": "longterm", "released": {"timestamp": 1721034001, "isodate": "2024-07-15"},
         "changelog": "https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.6.40"},
        {"iseol": false, "version": "next-20240725", "moniker": "linux-next", "source": null, "pgp": null,
         "released": {"timestamp": 1721865600, "isodate": "2024-07-25"}, "changelog": null, "diffview": null, "patch": {"full": null, "incremental": null}}
    ]
}`

// TestListed reads what the list says of the newest release of a series.
func TestListed(t *testing.T) {
	s := newSite(t)
	s.files["/releases.json"] = []byte(releasesJSON)
	o := s.options()
	for series, want := range map[string]Release{
		"6.6": {"6.6.40", "longterm", "2024-07-15", false, "https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.6.40"}, "6.8": {"6.8.12", "stable", "2024-05-30", true, ""},
		"6.10": {"6.10.1", "stable", "2024-07-24", false, "https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.10.1"},
	} {
		if got, err := Listed(t.Context(), series, o); err != nil || got == nil || *got != want {
			t.Errorf("%s: %+v, %v", series, got, err)
		}
	}
	if got, err := Listed(t.Context(), "5.0", o); err != nil || got != nil {
		t.Errorf("a series that is not listed: %+v, %v", got, err)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	o = s.options()
	o.Offline = true
	if got, err := Listed(t.Context(), "6.6", o); err != nil || got != nil {
		t.Errorf("offline with nothing kept: %+v, %v", got, err)
	}
}

func TestLatestWithNothing(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Sign in</html>") }))
	t.Cleanup(page.Close)
	for address, word := range map[string]string{
		"http://me:secret@127.0.0.1:1": "connection refused", silent.URL: "timeout awaiting", page.URL: "web page",
	} {
		o := Options{Dir: t.TempDir(), ReleasesURL: address + "/releases.json?sig=secret", Web: quick()}
		for range 2 { // the second time with a damaged list
			_, err := Latest(t.Context(), "6.6", o)
			if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "does not have that series") || fault.KindOf(err) != fault.Outside {
				t.Fatalf("%s: %v", address, err)
			}
			for _, want := range []string{"asking kernel.org", word, "HTTPS_PROXY", "--kernel-version"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v; it should say %q", address, err, want)
				}
			}
			if err := os.WriteFile(filepath.Join(o.Dir, "releases.json"), []byte("{damaged"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o.Offline = true
		if _, err := Latest(t.Context(), "6.6", o); err == nil || !strings.Contains(err.Error(), "--offline") {
			t.Errorf("offline: %v", err)
		}
	}
}

// TestArchiveThatStalls starts sending an archive and stops.
func TestArchiveThatStalls(t *testing.T) {
	stalled := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(stalled.Close)
	s := newSite(t)
	o := s.options()
	if _, err := FromURL(t.Context(), stalled.URL+"/linux.tar.xz", "", o); err == nil || !strings.Contains(err.Error(), "stalled") {
		t.Errorf("an archive: %v", err)
	}
	o.Mirrors = []string{stalled.URL, s.URL}
	if _, err := Fetch(t.Context(), wanted, o); err != nil {
		t.Errorf("the second mirror: %v", err)
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{"6.6.32": "6.6.32", "6.6": "6.6", "6.6.0": "6.6", "6": "", "6.6-rc1": "", "6.6.1.2": "", "": "", "6.-1": "", "next-20240523": ""} {
		v, err := ParseVersion(text)
		if (err == nil) != (want != "") || err == nil && v.String() != want {
			t.Errorf("%q is read as %v, %v; want %q", text, v, err, want)
		}
	}
}

func TestLocalAndOtherSources(t *testing.T) {
	s := newSite(t)
	o := s.options()
	warnings := &notes{}
	o.Progress = warnings
	content := s.files["/v6.x/linux-6.6.32.tar.xz"]
	sum := sha256.Sum256(content)
	right, wrong := hex.EncodeToString(sum[:]), strings.Repeat("0", 64)
	local := filepath.Join(t.TempDir(), "my.tar.xz")
	if err := os.WriteFile(local, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, sum := range []string{"", right, strings.ToUpper(right)} {
		if a, err := FromFile(t.Context(), local, sum); err != nil || a.SHA256 != right {
			t.Errorf("a local file with %q: %v, %v", sum, a, err)
		}
		if a, err := FromURL(t.Context(), s.URL+"/v6.x/linux-6.6.32.tar.xz", sum, o); err != nil || a.SHA256 != right {
			t.Errorf("a URL with %q: %v, %v", sum, a, err)
		}
	}
	if len(warnings.text) != 1 || !strings.Contains(warnings.text[0], "--sha256") {
		t.Errorf("the warnings are %q", warnings.text)
	}
	if _, err := FromFile(t.Context(), local, wrong); err == nil || !strings.Contains(err.Error(), "want 000") {
		t.Errorf("a wrong sum of a file gives %v", err)
	}
	sparse := filepath.Join(t.TempDir(), "sparse.tar.xz")
	if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 30<<30)); err != nil {
		t.Fatal(err)
	}
	if _, err := FromFile(t.Context(), sparse, ""); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "has 32212254720 bytes, more than") {
		t.Errorf("of a sparse file: %v", err)
	}
	pinned := strings.Replace(s.URL, "http://", "http://me:secret@", 1) + "/v6.x/linux-6.6.32.tar.xz?sig=secret#sha256="
	if a, err := FromURL(t.Context(), pinned+right, "", o); err != nil || a.SHA256 != right || strings.Contains(a.Path, "secret") {
		t.Errorf("a URL with its sum: %v, %v", a, err)
	}
	if _, err := FromURL(t.Context(), pinned+right, wrong, o); fault.KindOf(err) != fault.Usage {
		t.Errorf("two sums: %v", err)
	}
	if len(warnings.text) != 1 {
		t.Errorf("the warnings are %q", warnings.text)
	}
	if _, err := FromURL(t.Context(), pinned+wrong, "", o); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong sum in the address: %v", err)
	}
	if _, err := FromURL(t.Context(), s.URL+"/v6.x/linux-6.6.32.tar.xz", wrong, o); err == nil {
		t.Error("a wrong sum of a URL is taken")
	}
}

func TestCancelled(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, wanted, s.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// A mirror may need a login, or a signature in the query of its address.
func TestMirrorWithLoginAndQuery(t *testing.T) {
	s := newSite(t)
	o := s.options()
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "hunter2" || r.URL.RawQuery != "sig=hunter3" {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
	withLogin := strings.Replace(s.URL, "http://", "http://me:hunter2@", 1)
	var said notes
	o.Progress = &said
	o.Mirrors = []string{withLogin + "?sig=wrong-hunter3", withLogin + "/?sig=hunter3"}
	if _, err := Fetch(t.Context(), wanted, o); err != nil {
		t.Fatal(err)
	}
	o.Mirrors, o.Dir = o.Mirrors[:1], t.TempDir()
	_, err := Fetch(t.Context(), wanted, o)
	if err == nil || strings.Contains(fmt.Sprint(err, said.text), "hunter") {
		t.Errorf("%v\n%q", err, said.text)
	}
}
