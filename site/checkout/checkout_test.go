package checkout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/progress"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fixed is when the served archives were changed last.
var fixed = time.Unix(1700000000, 0)

// archive returns a .tar.gz of the files, as git makes it of a commit or, if that
// is "", as tar does. A name that ends in "/" is a directory,
// and a content "-> x" a symlink.
func archive(t *testing.T, commit string, files ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	w := tar.NewWriter(packed)
	if commit != "" {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": commit}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		h := &tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f[0], ".sh") {
			h.Mode = 0o775
		}
		if strings.HasSuffix(f[0], "/") {
			h.Typeflag = tar.TypeDir
		}
		if target, ok := strings.CutPrefix(f[1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, f[1] = tar.TypeSymlink, target, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func hook(t *testing.T) []byte {
	t.Helper()
	return archive(t, commit, [2]string{"hook-1/", ""}, [2]string{"hook-1/build.sh", "#!/bin/sh"}, [2]string{"hook-1/kernel/configs/a", "CONFIG_A=y"}, [2]string{"hook-1/link", "-> kernel/configs/a"})
}

type messages struct{ texts []string }

func (m *messages) Report(e progress.Event) { m.texts = append(m.texts, e.Text) }

func options(t *testing.T, m *messages) fetch.Options {
	t.Helper()
	store, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return fetch.Options{Cache: store, Progress: m}
}

func serve(t *testing.T, content []byte) (*httptest.Server, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/site/hook/archive/"+commit+".tar.gz" {
			http.NotFound(w, r)
			return
		}
		asked = append(asked, r.Method)
		http.ServeContent(w, r, "", fixed, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s, &asked
}

func sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

// read returns the checkout's files.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		info, statErr := d.Info()
		if statErr != nil {
			return statErr
		}
		found[name] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFetchByCommit(t *testing.T) {
	content := hook(t)
	server, asked := serve(t, content)
	var m messages
	o := options(t, &m)
	source := Source{URL: server.URL + "/site/hook.git", Commit: commit}
	got, err := Fetch(t.Context(), source, o)
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, got.Dir)
	if len(files) != 3 || files["build.sh"] != "-rwxr-xr-x #!/bin/sh" || files["kernel/configs/a"] != "-rw-r--r-- CONFIG_A=y" || !strings.HasPrefix(files["link"], "L") {
		t.Errorf("unpacked %q", files)
	}
	if got.SHA256 != sum(content) {
		t.Errorf("sha256 %s", got.SHA256)
	}
	if text := strings.Join(m.texts, "\n"); !strings.Contains(text, "sha256: "+sum(content)) {
		t.Errorf("the checksum is not among the notes:\n%s", text)
	}

	// What was changed, added and removed is written anew; the server is not
	// asked for what is pinned and in the cache.
	before := len(*asked)
	o.Offline = true
	source.SHA256 = got.SHA256
	for name, change := range map[string]func(){
		"changed": func() { put(t, filepath.Join(got.Dir, "kernel/configs/a"), "CONFIG_A=n") },
		"added":   func() { put(t, filepath.Join(got.Dir, "kernel/configs/b"), "CONFIG_B=y") },
		"removed": func() { remove(t, filepath.Join(got.Dir, "link")) },
		"nothing": func() {},
	} {
		change()
		m.texts = nil
		pinnedSource := source
		pinnedSource.Archive = keep(t, content)
		pinnedSource.URL, pinnedSource.Commit = "", ""
		again, err := Fetch(t.Context(), pinnedSource, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := read(t, again.Dir); again.Dir != got.Dir || len(diff) != 3 || diff["kernel/configs/a"] != files["kernel/configs/a"] {
			t.Errorf("%s: %q", name, diff)
		}
		if warned := strings.Contains(strings.Join(m.texts, "\n"), "was changed; it is written anew"); warned != (name != "nothing") {
			t.Errorf("%s: messages %q", name, m.texts)
		}
	}
	if len(*asked) != before {
		t.Errorf("the server was asked %v", *asked)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func keep(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook.tar.gz")
	put(t, path, string(content))
	return path
}

func TestRefused(t *testing.T) {
	file := [2]string{"hook/a", "text"}
	for name, test := range map[string]struct {
		archive []byte
		source  Source
		want    string
	}{
		"another checksum": {hook(t), Source{SHA256: strings.Repeat("0", 64)}, "its sha256 is " + sum(hook(t))},
		"not an archive":   {[]byte("<html>"), Source{}, "reading the tar archive"},
		"no files":         {archive(t, commit), Source{}, "it has no files"},
		"two directories":  {archive(t, "", file, [2]string{"other/a", "text"}), Source{}, "not all in one directory"},
		"no directory":     {archive(t, "", [2]string{"a", "text"}), Source{}, "not all in one directory"},
		"out of it":        {archive(t, "", [2]string{"hook/../../etc/passwd", "x"}), Source{}, "leads out"},
		"through a link":   {archive(t, "", [2]string{"hook/etc", "-> /etc"}, [2]string{"hook/etc/passwd", "x"}), Source{}, "etc"},
	} {
		var m messages
		test.source.Archive = keep(t, test.archive)
		_, err := Fetch(t.Context(), test.source, options(t, &m))
		if err == nil || !strings.Contains(err.Error(), test.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v: %v", name, fault.KindOf(err), err)
		}
	}
	for name, test := range map[string]struct{ commit, want string }{
		"another commit": {strings.Repeat("f", 40), "it was made of commit \"ffff"},
		"no commit":      {"", "it does not name the commit"},
	} {
		server, _ := serve(t, archive(t, test.commit, file))
		var m messages
		_, err := Fetch(t.Context(), Source{URL: server.URL + "/site/hook", Commit: commit}, options(t, &m))
		if err == nil || !strings.Contains(err.Error(), test.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v: %v", name, fault.KindOf(err), err)
		}
	}
	var m messages
	server, _ := serve(t, nil)
	_, err := Fetch(t.Context(), Source{URL: server.URL + "/other/hook", Commit: commit}, options(t, &m))
	if fault.KindOf(err) != fault.Outside {
		t.Errorf("a repository that does not exist: %v", err)
	}
}
