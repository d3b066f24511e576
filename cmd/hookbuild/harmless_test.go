package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/cmd/hookbuild/face"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/test/lab/site"
)

// hostile is text from a registry that clears the screen, forges a line of hookbuild's,
// and has a command for GitHub's runner.
const hostile = "x\x1b[2J\x1b]0;t\a\u202e\u009b1m\xff\r\n::add-mask::y\nok  forged"

func TestNoFaceShowsRemoteTextRaw(t *testing.T) {
	for _, kind := range []string{"plain", "github", "json", "tty"} {
		t.Run(kind, func(t *testing.T) {
			var shown bytes.Buffer
			a := &app{environment: environment{stderr: &shown}}
			var err error
			if a.face, err = face.New(kind, face.Options{Writer: &shown, Debug: true, Getenv: func(string) string { return "" }}); err != nil {
				t.Fatal(err)
			}
			progress.Notef(a.sink(), "note %s", hostile)
			progress.Warnf(a.sink(), "warning %s", hostile)
			task := progress.Start(a.sink(), 0, "task %s", hostile)
			task.Output(hostile)
			_ = task.End(errors.New(hostile), "") // the error it was given
			_ = progress.Start(a.sink(), 0, "second").End(nil, hostile)
			if err := a.face.Close(); err != nil {
				t.Fatal(err)
			}
			checkHarmless(t, kind, shown.String())
			if !strings.Contains(shown.String(), "x"+`\x1b[2J`) && kind != "json" {
				t.Errorf("nothing is left of the text:\n%q", shown.String())
			}
		})
	}
}

// TestResultsShowNamesHarmless checks what inspect prints of an initramfs whose names
// are hostile.
func TestResultsShowNamesHarmless(t *testing.T) {
	tree := &initramfs.Tree{}
	for _, name := range []string{"a" + hostile + "/tool", "::add-mask::z/tool"} {
		if err := tree.Add(initramfs.BytesFile(name, bytes.Repeat([]byte("x"), 5000), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &packed, tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(t.TempDir(), "in")
	site.WriteFile(t, in, packed.String())
	other := filepath.Join(t.TempDir(), "other")
	baseInitramfs(t, other, initramfs.None)
	for _, args := range [][]string{{in}, {"--diff", other, in}} {
		got := runAt(t.Context(), site.New(t, nil), append([]string{"inspect", "--progress", "plain", "--cache-dir", t.TempDir()}, args...)...)
		if got.code != 0 || !strings.Contains(got.stdout, `ax\x1b[2J`) {
			t.Errorf("%q: exit code %d\n%q\n%s", args, got.code, got.stdout, got.stderr)
		}
		checkHarmless(t, "", got.stdout)
		checkHarmless(t, "", got.stderr)
	}
}

func checkHarmless(t *testing.T, kind, shown string) {
	t.Helper()
	for line := range strings.Lines(shown) {
		if strings.Contains(line, "\x1b[2J\x1b]0") || strings.Contains(line, "\a") || strings.ContainsAny(line, "\u202e\u009b") || strings.Contains(line, "\xff") {
			t.Errorf("shown raw: %q", line)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "::add-mask") || strings.HasPrefix(line, "ok  forged") {
			t.Errorf("a forged line: %q", line)
		}
		if kind == "json" {
			var event struct{ Text, Task, Error string }
			if err := json.Unmarshal([]byte(line), &event); err != nil || strings.Contains(event.Text+event.Task+event.Error, "\x1b") {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

// TestFinalErrorShowsRegistrysWordsHarmless checks the final error, which has the
// registry's message.
func TestFinalErrorShowsRegistrysWordsHarmless(t *testing.T) {
	said := "no\x1b[2J\u202e\n::add-mask::z"
	s := site.New(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/actions/") {
				next.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": "DENIED", "message": said}}})
		})
	})
	got := runAt(t.Context(), s, allArgs(t, s, sharedCache(t), t.TempDir())...)
	if got.code != 4 || !strings.Contains(got.stderr, `no\x1b[2J`) {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	checkHarmless(t, "", got.stderr)
}

// What the standard library logs of a server is not shown: it would stand between the
// lines of the face, and is the server's own text.
func TestNothingIsShownBesideTheFace(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for _, status := range []string{"503 Service Unavailable", "403 Forbidden"} {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\nunsolicited")
		}
	}()
	cmd := exec.CommandContext(t.Context(), "hookbuild", "images", "--bundle", "http://"+listener.Addr().String()+"/b.yaml", "--cache-dir", t.TempDir(), "--progress", "plain")
	said, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("no error")
	}
	says(t, string(said), "the server answered 403")
	if strings.Contains(string(said), "nsolicited") {
		t.Errorf("it shows what a library logged:\n%s", said)
	}
}
