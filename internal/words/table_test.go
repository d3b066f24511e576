package words

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// squeeze removes blanks and line feeds.
func squeeze(text string) string { return strings.Join(strings.Fields(text), "") }

func TestFold(t *testing.T) {
	for _, test := range []struct {
		text   string
		width  int
		indent string
		want   string
	}{
		{"one two three", 0, "  ", "one two three"},
		{"out/hook/initramfs-x86_64", 14, "  ", "out/hook/\n  initramfs-x8\n  6_64"},
		{"one two three", 8, "  ", "one two\n  three"},
		{"ok    a b c d", 9, "      ", "ok    a b\n      c d"},
		{"sha256:0123456789abcdef0123", 12, "  ", "sha256:01234\n  56789abcde\n  f0123"},
		{"hook-latest-lts-amd64 is it", 24, "", "hook-latest-lts-amd64 is\nit"},
		{"first\n  second", 20, "    ", "first\n    second"},
		{"漢字漢字漢字 漢", 10, "", "漢字漢字漢\n字 漢"},
		{"", 10, "", ""},
	} {
		if got := strings.Join(Fold(test.text, test.width, test.indent), "\n"); got != test.want {
			t.Errorf("%q in %d columns:\n%s\nwant\n%s", test.text, test.width, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	plain := &Table{}
	plain.Row("flavor", "hook-latest-lts-amd64")
	plain.Row("embedded image", "registry.example/cexec:v1", "sha256:0123456789abcdef", "cached")
	plain.Row("init image", "registry.example/init", "sha256:0123456789abcdef", "cached")
	plain.Row("not known", "the sizes of the files\nthat are written")
	headed := &Table{Head: []string{"  NAME", "ARCH", "TAGS"}}
	headed.Row("* hook-latest-lts-amd64", "amd64", "standard lts armbian-sbc")
	headed.Row("  hook-armbian", "arm64", "")
	for _, test := range []struct {
		table *Table
		width int
		want  string
	}{
		{plain, 0, `
flavor          hook-latest-lts-amd64
embedded image  registry.example/cexec:v1  sha256:0123456789abcdef  cached
init image      registry.example/init      sha256:0123456789abcdef  cached
not known       the sizes of the files\nthat are written
`},
		{plain, 60, `
flavor          hook-latest-lts-amd64
embedded image  registry.example/cexec:v1
                sha256:0123456789abcdef  cached
init image      registry.example/init
                sha256:0123456789abcdef  cached
not known       the sizes of the files\nthat are written
`},
		{plain, 40, `
flavor      hook-latest-lts-amd64
embedded image
    registry.example/cexec:v1
    sha256:0123456789abcdef  cached
init image  registry.example/init
            sha256:0123456789abcdef
            cached
not known   the sizes of the files\nthat
            are written
`},
		{headed, 60, `
  NAME                   ARCH   TAGS
* hook-latest-lts-amd64  amd64  standard lts armbian-sbc
  hook-armbian           arm64
`},
		{headed, 48, `
  NAME                   ARCH   TAGS
* hook-latest-lts-amd64  amd64  standard lts
                                armbian-sbc
  hook-armbian           arm64
`},
		{headed, 30, `
* hook-latest-lts-amd64
    arch amd64
    tags standard lts
    armbian-sbc
  hook-armbian
    arch arm64
`},
	} {
		if got := test.table.Text(test.width); got != test.want[1:] {
			t.Errorf("in %d columns:\n%s\nwant\n%s", test.width, got, test.want[1:])
		}
	}
}

// TestTableFits checks that no line is wider than the terminal, that no text is left
// out and that without a terminal every row is one line.
func TestTableFits(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		table, all := &Table{}, ""
		rows := 1 + r.IntN(6)
		for range rows {
			var cells []string
			for range 1 + r.IntN(5) {
				cell := ""
				for range r.IntN(5) {
					cell += strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(30)) + " "
				}
				cells = append(cells, strings.TrimSpace(cell))
			}
			all += squeeze(strings.Join(cells, ""))
			table.Row(cells...)
		}
		if n := strings.Count(table.Text(0), "\n"); n != rows {
			t.Fatalf("%d rows are %d lines:\n%s", rows, n, table.Text(0))
		}
		for _, width := range []int{20, 40, 60, 80, 200} {
			text := table.Text(width)
			if got := squeeze(text); got != all {
				t.Fatalf("in %d columns, %q became\n%s", width, all, text)
			}
			for line := range strings.Lines(text) {
				if Width(strings.TrimSuffix(line, "\n")) > width {
					t.Fatalf("in %d columns:\n%s", width, text)
				}
			}
		}
	}
}
