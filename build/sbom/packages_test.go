package sbom

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const apkDatabase = `C:Q1abc=
P:musl
V:1.2.5-r1
A:x86_64
L:MIT
F:lib
R:ld-musl-x86_64.so.1

P:libstdc++
V:14.2.0-r4
A:x86_64
`

const dpkgStatus = `Package: base-files
Status: install ok installed
Architecture: amd64
Version: 12.4+deb12u5
Description: the base
 Version: not this one

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
`

func TestReadDatabase(t *testing.T) {
	for _, c := range []struct {
		kind, text string
		want       []installed
		url        string
	}{
		{"apk", apkDatabase, []installed{{"musl", "1.2.5-r1", "x86_64", "apk"}, {"libstdc++", "14.2.0-r4", "x86_64", "apk"}}, "pkg:apk/alpine/libstdc%2B%2B@14.2.0-r4?arch=x86_64"},
		{"deb", dpkgStatus, []installed{{"base-files", "12.4+deb12u5", "amd64", "deb"}}, "pkg:deb/debian/base-files@12.4%2Bdeb12u5?arch=amd64"},
		{"apk", "", nil, ""},
	} {
		got, err := readDatabase(strings.NewReader(c.text), c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.kind, diff)
		}
		if len(got) > 0 && got[len(got)-1].url() != c.url {
			t.Errorf("%s: %s", c.kind, got[len(got)-1].url())
		}
	}
}

func FuzzReadDatabase(f *testing.F) {
	f.Add(apkDatabase, true)
	f.Add(dpkgStatus, false)
	f.Fuzz(func(t *testing.T, text string, apk bool) {
		kind := "deb"
		if apk {
			kind = "apk"
		}
		all, err := readDatabase(strings.NewReader(text), kind)
		for _, p := range all {
			if err == nil && (p.Name == "" || p.Version == "" || strings.ContainsAny(p.url(), " \n")) {
				t.Errorf("%+v", p)
			}
		}
	})
}
