package containers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// TestLocalChanges compares a container's directory with the index that git wrote.
func TestLocalChanges(t *testing.T) {
	git := testneed.Tool(t, "git")
	for _, version := range []string{"2", "4"} {
		t.Run("index of version "+version, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, content string) {
				t.Helper()
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			run := func(args ...string) {
				t.Helper()
				cmd := exec.CommandContext(t.Context(), git, args...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, out)
				}
			}
			check := func(want string) {
				t.Helper()
				got, remedy := localChanges(os.DirFS(dir), Container{Name: "hook-one"})
				if got != want || strings.Contains(remedy, "git sparse-checkout disable") != strings.Contains(want, "left out") || strings.Contains(remedy, "remove or restore") != (strings.Contains(want, "tracked") || strings.Contains(want, "changed")) {
					t.Errorf("got  %q; %s\nwant %q", got, remedy, want)
				}
			}
			write(".gitignore", "out/\n")
			write("images/hook-one/Dockerfile", "FROM scratch\n")
			write("images/hook-one/etc/a-file-with-a-longer-name", "a\n")
			write("images/hook-one/etc/b", "b\n")
			write("images/hook-two/Dockerfile", "FROM scratch\n")
			check("")
			run("init", "-q")
			run("add", "-A")
			run("update-index", "--index-version", version)
			write("images/hook-one/later", "")
			run("add", "-N", "images/hook-one/later")
			if err := os.Remove(filepath.Join(dir, "images/hook-one/later")); err != nil {
				t.Fatal(err)
			}
			run("rm", "-q", "--cached", "images/hook-one/later")
			check("")
			write("images/hook-two/new", "x")
			check("")
			write("images/hook-one/out/hook/vmlinuz", "x") // which .gitignore has
			check("images/hook-one/out/ (not tracked by git)")
			write("images/hook-one/etc/b", "c\n") // of the same size
			if err := os.Remove(filepath.Join(dir, "images/hook-one/Dockerfile")); err != nil {
				t.Fatal(err)
			}
			check("images/hook-one/out/ (not tracked by git) and images/hook-one/Dockerfile, images/hook-one/etc/b (changed)")
			run("update-index", "--skip-worktree", "images/hook-one/Dockerfile")
			check("images/hook-one/out/ (not tracked by git) and images/hook-one/etc/b (changed) and images/hook-one/Dockerfile (left out of the working tree by git)")
			run("checkout", "--", "images/hook-one/etc/b")
			if err := os.RemoveAll(filepath.Join(dir, "images/hook-one/out")); err != nil {
				t.Fatal(err)
			}
			check("images/hook-one/Dockerfile (left out of the working tree by git)")
			write("images/hook-one/out/hook/vmlinuz", "x")
			write("images/hook-one/etc/b", "c\n")
			run("update-index", "--no-skip-worktree", "images/hook-one/Dockerfile")
			for _, name := range []string{"1", "2", "3", "4"} {
				write("images/hook-one/etc/new"+name, "x")
			}
			check("images/hook-one/etc/new1, images/hook-one/etc/new2, images/hook-one/etc/new3 and 2 more (not tracked by git) and images/hook-one/Dockerfile, images/hook-one/etc/b (changed)")
			run("update-index", "--split-index") // which keeps the entries in another file
			check("")
		})
	}
}

// TestUnpublishedSaysWhy checks that the error names the directory, whether or not the
// checkout is git's.
func TestUnpublishedSaysWhy(t *testing.T) {
	host := serve(t)
	list, err := List(t.Context(), checkout(host), host+"/hook/", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	withIndex := checkout(host)
	withIndex[gitIndex] = &fstest.MapFile{Data: append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00"), make([]byte, 20)...)}
	for _, test := range []struct {
		checkout fstest.MapFS
		say      string
	}{
		{checkout(host), "; the tag is the hash of all files in images/hook-one. It cannot be built here, because that needs Docker: "},
		{withIndex, "images/hook-one/ (not tracked by git); remove or restore those that"},
	} {
		_, err = Ensure(t.Context(), list[1:], Options{Checkout: test.checkout, Arch: "amd64", Images: images(t)})
		if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "is not published") || !strings.Contains(err.Error(), test.say) {
			t.Errorf("no %q in: %v", test.say, err)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	checksum := make([]byte, 20)
	f.Add(append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00"), checksum...))
	f.Add(append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00TREE\x00\x00\x00\x01x"), checksum...))
	f.Add(append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00link\x00\x00\x00\x00"), checksum...))
	entry := append(make([]byte, 60), 0, 1, 'a')
	f.Add(append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"), append(entry, make([]byte, 9+20)...)...))
	f.Add(append([]byte("DIRC\x00\x00\x00\x04\x00\x00\x00\x01"), append(append(make([]byte, 62), 0, 'a', 0), checksum...)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		index, err := readIndex(text)
		if err == nil && len(index) > len(text)/60 {
			t.Errorf("%d files in %d bytes", len(index), len(text))
		}
	})
}
