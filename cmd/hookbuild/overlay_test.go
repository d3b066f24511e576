package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/test/lab/site"
)

// TestOverlays builds a document and a template with overlays: the files are in
// the result, the manifest lists the overlays, and a changed one is another
// result.
func TestOverlays(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	overlay := filepath.Join(dir, "site.yaml")
	site.WriteFile(t, filepath.Join(dir, "note.txt"), "a note")
	site.WriteFile(t, overlay, "files:\n  - {path: etc/note, source: note.txt}\n  - {path: bin/program, append: tail}\nremove: {services: [twice]}\n")
	p.run(0, "linuxkit", "--yaml", p.document(), "--overlay", overlay, "--tar")
	for name, want := range map[string]string{"etc/note": "a note", "bin/program": "program tail"} {
		if got := p.tarFile("my-system", name); !strings.HasSuffix(got, want) {
			t.Errorf("%s ends with %q, want %q", name, got[max(0, len(got)-20):], want)
		}
	}
	first := p.manifest("my-system")
	if len(first.Overlays) != 1 || first.Overlays[0].Name != "site.yaml" || !strings.HasPrefix(first.Overlays[0].Digest, "sha256:") {
		t.Errorf("the manifest lists the overlays %+v", first.Overlays)
	}
	site.WriteFile(t, filepath.Join(dir, "note.txt"), "another note")
	p.run(0, "linuxkit", "--yaml", p.document(), "--overlay", overlay, "--tar")
	if got := p.tarFile("my-system", "etc/note"); got != "another note" {
		t.Errorf("after its source changed, etc/note has %q", got)
	}
	wrong := filepath.Join(dir, "wrong.yaml")
	site.WriteFile(t, wrong, "remove: {services: [helo]}\n")
	got := p.run(3, "linuxkit", "--hook-dir", p.site.Dir, "--overlay", overlay, "--overlay", wrong)
	if !strings.Contains(got.stderr, `applying the overlay "`+overlay+`" to "linuxkit-templates/hook.template.yaml"`) || !strings.Contains(got.stderr, `no service "twice"`) {
		t.Errorf("the error does not name both files:\n%s", got.stderr)
	}
	got = p.run(3, "linuxkit", "--hook-dir", p.site.Dir, "--overlay", wrong)
	if !strings.Contains(got.stderr, `did you mean "hello"?`) {
		t.Errorf("the error suggests nothing:\n%s", got.stderr)
	}
	p.run(2, "linuxkit", "--yaml", p.document(), "--overlay", overlay, "--overlay", overlay)
}

func (p place) manifest(dir string) artifact.Build {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.out, dir, artifact.ManifestFile))
	if err != nil {
		p.t.Fatal(err)
	}
	var m artifact.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || len(m.Builds) != 1 {
		p.t.Fatalf("%v: %s", err, raw)
	}
	return m.Builds[0]
}

// tarFile returns the content of a file of the root file system.
func (p place) tarFile(dir, name string) string {
	p.t.Helper()
	f, err := os.Open(filepath.Join(p.out, dir, dir+"_rootfs_x86_64.tar"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			p.t.Fatalf("looking for %s in the root file system: %v", name, err)
		}
		if h.Name != name {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			p.t.Fatal(err)
		}
		return string(content)
	}
}

// Inspect and verify show what the site put in.
func TestSiteIsShown(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	overlay, profile := filepath.Join(dir, "notes.yaml"), filepath.Join(dir, "profile.yaml")
	site.WriteFile(t, overlay, "files:\n  - {path: etc/motd, contents: welcome}\n")
	site.WriteFile(t, profile, "motd: Property of Example Ltd.\n")
	l.run(0, append([]string{"all", "--overlay", overlay, "--site", profile}, l.options()...)...)
	lost := filepath.Join(dir, "lost.yaml")
	site.WriteFile(t, lost, "files:\n  - {path: etc/lost, append: x}\n  - {path: etc/extra, append: x, optional: true}\n")
	planned := l.run(0, append([]string{"plan", "--overlay", lost}, l.options()...)...).stdout
	if !strings.Contains(strings.Join(strings.Fields(planned), " "), "not known whether an image has the file /etc/lost, whose text is to be changed") || strings.Contains(planned, "/etc/extra") {
		t.Errorf("the plan does not say that etc/lost is not checked:\n%s", planned)
	}
	for _, command := range []string{"inspect", "verify"} {
		shown := l.run(0, command, filepath.Join(l.out, "hook")).stdout
		for _, want := range []string{`(?m)^overlay.* +notes\.yaml +sha256:`, `(?m)^site.* +motd +\d+ bytes`} {
			if !regexp.MustCompile(want).MatchString(shown) {
				t.Errorf("%s does not say %s:\n%s", command, want, shown)
			}
		}
	}
}
