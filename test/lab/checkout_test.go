package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/linuxkit/containers"
	"hookbuild/test/testneed"
)

// checkout is the miniature Hook checkout.
const checkout = "../../testdata/hook"

// Every container that the checkout names is made by the lab, and the template
// uses each.
func TestCheckoutIsComplete(t *testing.T) {
	list, err := containers.List(t.Context(), os.DirFS(checkout), "registry.example/", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(filepath.Join(checkout, "linuxkit-templates/hook.template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, c := range list {
		named = append(named, c.Name)
		if !bytes.Contains(template, []byte("${"+c.Variable+"}")) {
			t.Errorf("the template does not use %s", c.Variable)
		}
	}
	i := standIns(t)
	recipes, err := i.recipes()
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, r := range recipes {
		made = append(made, r.name)
	}
	if !slices.Equal(named, made) {
		t.Errorf("the checkout names %v, the lab makes %v", named, made)
	}
}

// standIns are ingredients whose programs are ELF files without content.
func standIns(t *testing.T) ingredients {
	t.Helper()
	var header bytes.Buffer
	err := binary.Write(&header, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker", "busybox"} {
		if err := os.WriteFile(filepath.Join(root, "usr/bin", name), header.Bytes(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return ingredients{programs: programs{root: root, arch: architectures()["amd64"]}, checkout: os.DirFS(checkout)}
}

func TestScriptsAreClean(t *testing.T) {
	shellcheck := testneed.Tool(t, "shellcheck")
	for pattern, shell := range map[string]string{"images/*/*.sh": "sh", "files/*.sh": "sh", "bash/*.sh": "bash"} {
		scripts, err := fs.Glob(os.DirFS(checkout), pattern)
		if err != nil || len(scripts) == 0 {
			t.Fatalf("%s: %v, %v", pattern, scripts, err)
		}
		cmd := exec.Command(shellcheck, append([]string{"--shell=" + shell}, scripts...)...)
		cmd.Dir = checkout
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestPackageNames(t *testing.T) {
	uris := "'http://x/b_1%3a2_amd64.deb' b_1%3a2_amd64.deb 12 SHA256:0\n'http://x/a_1_all.deb' a_1_all.deb 5 \nNOTICE: something\n\n"
	if got := packageNames(uris); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}

func TestWriteTar(t *testing.T) {
	files := []file{textFile("usr/bin/x", "program", 0o755), symlink("bin/sh", "../usr/bin/x"), directory("tmp", 0o1777)}
	var once, again bytes.Buffer
	if err := writeTar(&once, files); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	if err := writeTar(&again, files); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), again.Bytes()) {
		t.Error("the order of the files shows in the archive")
	}
	cmd := exec.Command(testneed.Tool(t, "tar"), "-tv", "--numeric-owner", "--utc")
	cmd.Stdin = &once
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/",
		"lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin/sh -> ../usr/bin/x",
		"drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/",
		"drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/",
		"drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/",
		"-rwxr-xr-x 0/0 7 1970-01-01 00:00 usr/bin/x",
	}
	if got := squeezed(string(out)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func squeezed(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestJoinInitramfsAligns(t *testing.T) {
	dir := t.TempDir()
	var parts []string
	for name, content := range map[string]string{"a": "12345", "b": "678"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, file)
	}
	slices.Sort(parts)
	joined, err := Machine{Initramfs: parts}.joinInitramfs()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(joined)
	got, err := os.ReadFile(joined)
	if err != nil || string(got) != "12345\x00\x00\x00678\x00" {
		t.Errorf("%q, %v", got, err)
	}
}
