package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const spoken = "[    1.2] kernel line\r\n" +
	"hookos-demo: init.d after 3.25 s: name=001-images-mount.sh result=ok\r\n" +
	"hookos-demo: output of images:\r\nREPOSITORY   TAG\r\nlogin: hookos-demo: service after 4.5 s: name=x result=failed\r\na   b\r\n\r\nhookos-demo: end of images, exit code 0\r\n" +
	"hookos-demo: output of run:\r\nno end\r\n" +
	"hookos-demo: bootkit-started after 8.5 s\r\nhookos-demo: finished after 9 s: MemTotal=2048KiB MemAvailable=x\r\n"

func TestParseConsole(t *testing.T) {
	r := ParseConsole(spoken)
	want := map[string]Section{
		"images": {Output: "REPOSITORY   TAG\na   b\n", Exit: 0},
		"run":    {Output: "no end\n", Exit: -1},
	}
	if diff := cmp.Diff(want, r.Sections); diff != "" {
		t.Error(diff)
	}
	mounted, ok := r.Event("init.d", "001-images-mount.sh")
	if !ok || mounted.At != 3250*time.Millisecond || mounted.Values["result"] != "ok" {
		t.Errorf("%+v, %v", mounted, ok)
	}
	if e, ok := r.Event("finished", ""); !ok || e.KiB("MemTotal") != 2<<20 || e.KiB("MemAvailable") != 0 || e.KiB("none") != 0 {
		t.Errorf("%+v, %v", e, ok)
	}
	if e, ok := r.Event("bootkit-started", ""); !ok || e.At != 8500*time.Millisecond {
		t.Errorf("%+v, %v", e, ok)
	}
	if _, ok := r.Event("init.d", "other"); ok {
		t.Error("found an event of another script")
	}
}

func FuzzParseConsole(f *testing.F) {
	f.Add(spoken)
	f.Add("hookos-demo: output of\nhookos-demo: end of x\nhookos-demo: end of x, exit code ?\nhookos-demo: ")
	f.Fuzz(func(t *testing.T, console string) {
		for name, s := range ParseConsole(console).Sections {
			if strings.Contains(s.Output, mark) {
				t.Errorf("section %q kept a line of ours: %q", name, s.Output)
			}
		}
	})
}

func TestLimitedTextKeepsTheEnd(t *testing.T) {
	var text limitedText
	for range 3 {
		if _, err := text.Write(make([]byte, consoleLimit/2)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := text.Write([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); len(got) != consoleLimit || !strings.HasSuffix(got, "the end") {
		t.Errorf("%d bytes", len(got))
	}
}
