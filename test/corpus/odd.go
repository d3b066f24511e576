package corpus

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The layers here contain what image builders, archives and overlays are known
// to stumble over.

// skeleton is the lowest layer of every image: the merged directories that
// Debian's programs expect, and the mount points of a container runtime.
func skeleton() recipe {
	files := []file{}
	for _, d := range []string{"corpus", "dev", "etc", "proc", "root", "run", "sys", "usr", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var", "var/tmp"} {
		files = append(files, dir(d, 0o755))
	}
	for _, l := range []string{"bin", "lib", "lib64", "sbin"} {
		files = append(files, symlink(l, "usr/"+l))
	}
	files = append(files, dir("tmp", 0o1777), text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644), text("etc/group", "root:x:0:\n", 0o644))
	return recipe{name: "skeleton", compression: gzipped, files: files}
}

// nothing is an empty archive, as "docker build" makes for a step without
// effect.
func nothing() recipe { return recipe{name: "nothing", compression: gzipped} }

// before contains what [after] changes. Images share it and change it
// differently.
func before() recipe {
	files := []file{
		dir("corpus/change", 0o755),
		text("corpus/change/deleted", "to be deleted\n", 0o644),
		text("corpus/change/deleted and made again", "first\n", 0o600),
		dir("corpus/change/deleted-dir", 0o755), dir("corpus/change/deleted-dir/sub", 0o700),
		text("corpus/change/deleted-dir/a", "a\n", 0o644), text("corpus/change/deleted-dir/sub/b", "b\n", 0o644),
		symlink("corpus/change/deleted-link", "deleted"),
		dir("corpus/change/opaque", 0o755), dir("corpus/change/opaque/old", 0o755),
		text("corpus/change/opaque/old/inner", "hidden\n", 0o644), text("corpus/change/opaque/kept-name", "old\n", 0o644),
		dir("corpus/change/opaque-empty", 0o755), text("corpus/change/opaque-empty/x", "hidden\n", 0o644),
		text("corpus/change/file-to-dir", "file\n", 0o644),
		dir("corpus/change/dir-to-file", 0o755), text("corpus/change/dir-to-file/child", "child\n", 0o644),
		dir("corpus/change/dir-to-link", 0o755), text("corpus/change/dir-to-link/child", "child\n", 0o644),
		symlink("corpus/change/link-to-dir", "opaque"),
		text("corpus/change/mode", "mode\n", 0o644),
		dir("corpus/change/dir-mode", 0o755), text("corpus/change/dir-mode/stays", "stays\n", 0o644),
		text("corpus/change/sp ace", "odd\n", 0o644), text("corpus/change/new\nline", "odd\n", 0o644),
	}
	files = append(files, text("corpus/change/links-1", "one inode\n", 0o644).and("corpus/change/links-2", "corpus/change/links-3", "corpus/change/links-deleted", "corpus/change/links-replaced")...)
	files = append(files, text("corpus/change/first-deleted-1", "the first name goes\n", 0o644).and("corpus/change/first-deleted-2", "corpus/change/first-deleted-3")...)
	return recipe{name: "before", compression: gzipped, files: files}
}

// after deletes, hides and replaces what [before] made. The markers are among
// the files in every order that the specification permits.
func after() recipe {
	return recipe{name: "after", compression: gzipped, files: []file{
		dir("corpus/change", 0o755),
		whiteout("corpus/change/deleted"),
		whiteout("corpus/change/deleted and made again"),
		whiteout("corpus/change/deleted-dir"),
		whiteout("corpus/change/deleted-link"),
		whiteout("corpus/change/sp ace"), whiteout("corpus/change/new\nline"),
		whiteout("corpus/change/links-deleted"), whiteout("corpus/change/first-deleted-1"),
		dir("corpus/change/opaque", 0o750).owner(7, 8),
		text("corpus/change/opaque/kept-name", "new\n", 0o644), text("corpus/change/opaque/new", "new\n", 0o644),
		opaque("corpus/change/opaque"), // after what it must not hide
		dir("corpus/change/opaque-empty", 0o755), opaque("corpus/change/opaque-empty"),
		dir("corpus/change/file-to-dir", 0o755), text("corpus/change/file-to-dir/child", "child\n", 0o644),
		text("corpus/change/dir-to-file", "file\n", 0o644),
		symlink("corpus/change/dir-to-link", "file-to-dir"),
		dir("corpus/change/link-to-dir", 0o755), text("corpus/change/link-to-dir/child", "child\n", 0o644),
		text("corpus/change/mode", "mode\n", 0o4711).owner(65534, 65534),
		dir("corpus/change/dir-mode", 0o2775).owner(1000, 1000),
		text("corpus/change/links-replaced", "an inode of its own\n", 0o644),
	}}
}

// again recreates what [after] deleted.
func again() recipe {
	return recipe{name: "again", compression: zstded, files: []file{
		dir("corpus/change", 0o755),
		text("corpus/change/deleted and made again", "second\n", 0o640),
		dir("corpus/change/deleted-dir", 0o711), text("corpus/change/deleted-dir/c", "another\n", 0o644),
	}}
}

// names contains names that break scripts, lists and parsers.
func names() recipe {
	files := []file{dir("corpus/names", 0o755)}
	for i, n := range oddNames() {
		files = append(files, text("corpus/names/"+n, fmt.Sprintf("%d\n", i), 0o644))
	}
	deep := "corpus/names/deep"
	files = append(files, dir(deep, 0o755))
	for range 20 {
		deep += "/" + strings.Repeat("d", 60)
		files = append(files, dir(deep, 0o755))
	}
	files = append(files, text(deep+"/end", "deep\n", 0o644),
		symlink("corpus/names/long target", strings.Repeat("../names/", 110)+"end"),
		symlink("corpus/names/new\nline target", "a\nb"))
	return recipe{name: "names", compression: gzipped, files: files}
}

func oddNames() []string {
	return []string{
		"sp ace", " leading", "trailing ", "tab\there", "new\nline", "\nlooks like a second line", "-dash", "--", "-rf *",
		`back\slash`, `quo"te`, "apos'trophe", "$(exit 1)", "`exit 1`", "$HOME", "*", "?[a]", "%s%n", "semi;colon", "a&b|c>d", "#comment", "!bang", "~",
		"...", "..data", "a..", ".hidden", ".wh", ".whx", "é (one code point)", "e\u0301 (two code points)", "日本語", "🦫", "\u202eright to left", "\u0001\u007f",
		"Case", "case", "con:aux", "under=score", "comma,name", "colon:name", "at@name",
		strings.Repeat("n", 255), strings.Repeat("é", 127),
	}
}

// rawNames contains names that are not UTF-8, which only GNU's form of tar can
// carry.
func rawNames() recipe {
	return recipe{name: "raw names", compression: gzipped, tarFormat: tar.FormatGNU, files: []file{
		dir("corpus/raw", 0o755),
		text("corpus/raw/latin-1 caf\xe9", "latin\n", 0o644), text("corpus/raw/\xff\xfe", "bytes\n", 0o644),
		text("corpus/raw/"+strings.Repeat("\xe9", 200), "long\n", 0o644),
		symlink("corpus/raw/link", "latin-1 caf\xe9"),
	}}
}

// attributes holds modes, owners, times, links and devices.
func attributes() recipe {
	at := time.Unix
	files := []file{
		dir("corpus/attr", 0o755),
		text("corpus/attr/setuid", "#!/bin/sh\n", 0o4755), text("corpus/attr/setgid", "#!/bin/sh\n", 0o2755).owner(0, 42),
		text("corpus/attr/all-bits", "x\n", 0o7777).owner(1000, 1001), text("corpus/attr/no-bits", "x\n", 0o000),
		dir("corpus/attr/sticky", 0o1777), dir("corpus/attr/setgid-dir", 0o2755).owner(0, 100), dir("corpus/attr/no-bits-dir", 0o000),
		text("corpus/attr/nobody", "x\n", 0o644).owner(65534, 65534), text("corpus/attr/high-ids", "x\n", 0o644).owner(2_000_000, 1_999_999),
		text("corpus/attr/ping", "\x7fELF, nearly\n", 0o755).capability(),
		text("corpus/attr/empty", "", 0o644), dir("corpus/attr/empty-dir", 0o755),
		text("corpus/attr/nanoseconds", "x\n", 0o644).at(at(1_700_000_001, 123_456_789)), text("corpus/attr/last-nanosecond", "x\n", 0o644).at(at(1_700_000_001, 999_999_999)),
		text("corpus/attr/epoch", "x\n", 0o644).at(at(0, 0)), text("corpus/attr/after-2038", "x\n", 0o644).at(at(2_208_988_800, 0)),
		dir("corpus/attr/old-dir", 0o755).at(at(946_684_800, 0)), symlink("corpus/attr/old-link", "empty").at(at(946_684_800, 5)),
		symlink("corpus/attr/absolute", "/etc/passwd"), symlink("corpus/attr/dangling", "no/such/file"), symlink("corpus/attr/above-root", "../../../../../etc/passwd"),
		symlink("corpus/attr/self", "self"), symlink("corpus/attr/to-dir", "sticky"),
		fifo("corpus/attr/fifo", 0o620).owner(0, 5), charDevice("corpus/attr/null", 0o666, 1, 3),
	}
	files = append(files, text("corpus/attr/z-links-1", "shared\n", 0o4640).owner(3, 4).and("corpus/attr/a-links-2", "corpus/attr/sticky/links-3")...)
	return recipe{name: "attributes", compression: gzipped, files: files}
}

// uncompressed is a layer that is stored uncompressed.
func uncompressed() recipe {
	return recipe{name: "uncompressed", compression: plain, files: []file{
		dir("corpus/plain", 0o755), text("corpus/plain/zeros", strings.Repeat("\x00", 1<<20), 0o644), text("corpus/plain/one", "1", 0o644),
	}}
}

// noise is a layer of about the given number of bytes that compress badly. It
// replaces programs if Debian's packages are not available.
func noise(name, compression string, size int) recipe {
	random := rand.New(rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", name)))))
	files := []file{dir("usr/lib/"+name, 0o755)}
	for i := range 8 {
		content := make([]byte, size/8)
		for j := range content {
			content[j] = byte(random.Uint32())
		}
		files = append(files, text(fmt.Sprintf("usr/lib/%s/part-%d", name, i), string(content), 0o755))
	}
	return recipe{name: name, compression: compression, files: files}
}

// hide deletes and hides directories of the layers below it.
func hide(name string, deleted, hidden []string) recipe {
	files := []file{}
	for _, d := range parents(slices.Concat(deleted, hidden)) {
		files = append(files, dir(d, 0o755))
	}
	for _, d := range deleted {
		files = append(files, whiteout(d))
	}
	for _, d := range hidden {
		files = append(files, dir(d, 0o755), opaque(d), text(d+"/instead", "only this\n", 0o644))
	}
	return recipe{name: name, compression: gzipped, files: files}
}

// parents lists the directories above the paths, top down.
func parents(paths []string) []string {
	var all []string
	for _, p := range paths {
		for i, r := range p {
			if r == '/' && !slices.Contains(all, p[:i]) {
				all = append(all, p[:i])
			}
		}
	}
	return all
}
