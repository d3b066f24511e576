package linuxkit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

const overlaid = `kernel:
  image: kern:1
  cmdline: quiet
init:
  - linuxkit/init:1
  - linuxkit/firmware:1
onboot:
  - {name: udev, image: "udev:1"}
  - {name: dhcp, image: "dhcp:1"}
services:
  - name: getty
    image: getty:1
    env: [INSECURE=true, A=1]
    binds.add: [ /etc/motd:/etc/motd, /run:/run ]
    capabilities: [all]
    net: host
    sysctl: {a: "1", b: "2"}
    devices: [{path: /dev/tty0, type: c}]
    runtime: {mkdir: [/a], cgroups: [g]}
  - {name: ntpd, image: "ntpd:1", cwd: /x, command: [ntpd]}
files:
  - {path: etc/motd, contents: "hello ${HOME}\n", mode: "0644"}
  - {path: etc/old, contents: old}
volumes:
  - {name: data, image: "data:1"}
`

func overlay(t testing.TB, text string) (*Document, error) {
	t.Helper()
	o, err := ParseOverlay([]byte(text), "site.yaml", "/site")
	if err != nil {
		return nil, err
	}
	return mustParse(t, overlaid).Overlay("hook.template.yaml", o)
}

func mustOverlay(t testing.TB, text string) *Document {
	t.Helper()
	doc, err := overlay(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func service(t testing.TB, doc *Document, name string) *Container {
	t.Helper()
	i := slices.IndexFunc(doc.Services, func(c *Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no service %q", name)
	}
	return doc.Services[i]
}

func TestOverlayChangesAService(t *testing.T) {
	getty := service(t, mustOverlay(t, `services:
  - name: getty
    env.remove: [INSECURE]
    env.add: [A=2, B=3]
    binds.add: [ /x:/x:ro ]
    binds.remove: [ /run ]
    capabilities: [CAP_SYS_ADMIN]
    capabilities.add: [CAP_NET_ADMIN]
    sysctl: {b: "3", c: "4"}
    devices.add: [{path: /dev/tty1, type: c}]
    runtime: {mkdir.add: [/a, /b], mkdir: [/c]}
    remove: [net]
`), "getty")
	want := ContainerConfig{
		Env: []string{"A=2", "B=3"}, BindsAdd: []string{"/etc/motd:/etc/motd", "/x:/x:ro"},
		Capabilities: []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN"},
		Sysctl:       map[string]string{"a": "1", "b": "3", "c": "4"},
		Devices:      []Device{{Path: "/dev/tty0", Type: "c"}, {Path: "/dev/tty1", Type: "c"}},
		Runtime:      &Runtime{Mkdir: []string{"/c", "/a", "/b"}, Cgroups: []string{"g"}},
	}
	if diff := cmp.Diff(want, getty.ContainerConfig); diff != "" {
		t.Error(diff)
	}
}

// What is added to a list that only the image has does not take its place.
func TestOverlayAddsToTheImagesLists(t *testing.T) {
	ntpd := service(t, mustOverlay(t, `services:
  - name: ntpd
    env.add: [http_proxy=p]
    binds.add: [ /x:/x ]
    devices.add: [{path: all, type: c}]
    mounts.add: [{type: tmpfs, source: tmpfs, destination: /t}]
`), "ntpd")
	image := v1.Config{Env: []string{"PATH=/bin", "http_proxy=old"}, Labels: map[string]string{configLabel: `{"binds": ["/l:/l"], "devices": [{"path": "all", "type": "b"}]}`}}
	spec, _, err := containerSpec(ntpd, image, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PATH=/bin", "http_proxy=p"}, spec.Process.Env); diff != "" {
		t.Error(diff)
	}
	var mounts []string
	for _, m := range spec.Mounts {
		mounts = append(mounts, m.Destination)
	}
	for _, want := range []string{"/l", "/x", "/t"} {
		if !slices.Contains(mounts, want) {
			t.Errorf("no mount on %s in %v", want, mounts)
		}
	}
	if n := len(spec.Linux.Resources.Devices); n < 2 {
		t.Errorf("%d devices are allowed, want the image's and the overlay's", n)
	}
}

func TestOverlaySections(t *testing.T) {
	before := mustParse(t, overlaid)
	o, err := ParseOverlay([]byte(`kernel: {cmdline: loud}
init: ["extra:1"]
onboot:
  - {name: net, image: "net:1", before: dhcp}
  - {name: last, image: "last:1"}
  - {name: udev, after: dhcp}
services:
  - {name: getty, image: "getty:2"}
files:
  - {path: /etc/motd, append: "more\n"}
  - {path: etc/new, source: new.txt, mode: "0600"}
volumes:
  - {name: data, image: "data:2"}
  - {name: more}
remove:
  init: [docker.io/linuxkit/firmware:1]
  services: [ntpd, getty]
  files: [/etc/old]
`), "site.yaml", "/site")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := before.Overlay("hook.template.yaml", o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kern:1 loud", "linuxkit/init:1 extra:1", "net dhcp udev last", "getty=getty:2", "etc/motd etc/new", "data=data:2 more=",
	}
	got := []string{
		doc.Kernel.Image + " " + doc.Kernel.Cmdline, inOneLine(doc.Init, func(r ImageRef) string { return r.Name }), inOneLine(doc.Onboot, containerName),
		inOneLine(doc.Services, func(c *Container) string { return c.Name + "=" + c.Image }), inOneLine(doc.Files, fileName),
		inOneLine(doc.Volumes, func(v *Volume) string { return v.Name + "=" + v.Image }),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(doc.Services[0].Env) != 0 {
		t.Error("a service that was removed first kept its settings")
	}
	if again := mustParse(t, overlaid); !cmp.Equal(before, again, cmp.AllowUnexported(Container{}, File{}, ImageRef{}, Volume{}, KernelConfig{})) {
		t.Error("applying an overlay changed the document itself")
	}
}

func inOneLine[T any](list []T, text func(T) string) string {
	var all []string
	for _, e := range list {
		all = append(all, text(e))
	}
	return strings.Join(all, " ")
}

func TestOverlayFaults(t *testing.T) {
	both := []string{"site.yaml", "hook.template.yaml"}
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"services:\n  - name: gety\n    net: new\n", append(both, `line 2: services[0].name: the document has no service "gety"; did you mean "getty"? (a new one needs an image)`)},
		{"onboot:\n  - {name: nothing, net: new}\n", append(both, `no onboot container "nothing"; it has dhcp, udev`)},
		{"remove:\n  services: [gettty]\n", append(both, `line 2: remove.services[0]: the document has no service "gettty"; did you mean "getty"?`)},
		{"remove: {files: [etc/nothing-like-it]}\n", append(both, `no file "etc/nothing-like-it"; it has etc/motd, etc/old`)},
		{"remove: {onshutdown: [x]}\n", append(both, `no onshutdown container "x"; it has none`)},
		{"remove: {init: [\"linuxkit/init:2\"]}\n", append(both, `no init image "docker.io/linuxkit/init:2"; did you mean "docker.io/linuxkit/init:1"?`)},
		{"remove: {volumes: [dta]}\n", append(both, `did you mean "data"?`)},
		{"remove: {files: [etc/old, /etc/old]}\n", append(both, `"etc/old" is removed in line 1 too`)},
		{"init: [\"linuxkit/init:1\"]\n", append(both, `"linuxkit/init:1" is among the init images already`)},
		{"init: [\"a b\"]\n", append(both, "is not an image reference")},
		{"services: [{name: new, image: \"a b\"}]\n", append(both, "services[0].image", "is not an image reference")},
		{"services: [{name: getty, env.remove: [INSECUR]}]\n", append(both, `did you mean "INSECURE"?`)},
		{"services: [{name: getty, env.add: [X]}]\n", append(both, `"X" is not NAME=VALUE`)},
		{"services: [{name: getty, binds.remove: [/etc/mot]}]\n", append(both, `services[0].binds.remove[0]`, `did you mean "/etc/motd"?`)},
		{"services: [{name: getty, binds.add: [\"/y:/run\"]}]\n", append(both, `the document has "/run" already; remove it in the same entry`)},
		{"services: [{name: getty, remove: [cwd]}]\n", append(both, `no key of getty "cwd"`, "binds.add")},
		{"services: [{name: getty, net: host}]\n", append(both, `nothing of "getty" is changed`)},
		{"services: [{name: getty}]\n", append(both, `nothing of "getty" is changed`)},
		{"onboot: [{name: udev, before: dchp}]\n", append(both, `onboot[0].before`, `did you mean "dhcp"?`)},
		{"files: [{path: etc/motd}]\n", append(both, `"etc/motd" is in the document, and nothing of it is changed`)},
		{"files: [{path: etc/new}]\n", append(both, `"etc/new" has no content`)},
		{"files: [{path: etc/new, directory: true, append: x}]\n", append(both, "append and replace are for files")},
		{"files: [{path: ../x, append: x}]\n", append(both, `must not contain ".."`)},
		// What is wrong with the overlay itself.
		{"service: []\n", []string{`reading the overlay "site.yaml": line 1: unknown key "service"; did you mean "services"?`}},
		{"trust: {org: [a]}\n", []string{`unknown key "trust"`}},
		{"services: [{name: a, bind.add: []}]\n", []string{`unknown key "bind.add"; did you mean "binds.add"?`}},
		{"{}\n", []string{"line 1: the overlay changes nothing"}},
		{"", []string{"the document is empty"}},
		{"services: [{name: a, net: new},\n {name: a, net: host}]\n", []string{`line 2: services[1].name: "a" is changed in line 1 too`}},
		{"files: [{path: a, append: x}, {path: /a, append: x}]\n", []string{`"/a" is changed in line 1 too`}},
		{"files: [{path: a, replace: [{text: \"\", with: x}]}]\n", []string{"files[0].replace[0].text: it is empty"}},
		{"services: [{name: a, before: b}]\n", []string{"services start together"}},
		{"onboot: [{name: a, before: b, after: c}]\n", []string{"before and after exclude one another"}},
		{"remove: {services: [5]}\n", []string{"remove.services[0]: is 5, but must be text"}},
	} {
		_, err := overlay(t, tt.text)
		if err == nil {
			t.Errorf("%q is taken; want an error with %q", tt.text, tt.want)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v\nwant %q", tt.text, err, want)
			}
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: the error is of kind %d, want Invalid", tt.text, fault.KindOf(err))
		}
	}
}

func TestOverlayEditsFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own.txt"), []byte("own"), 0o600); err != nil {
		t.Fatal(err)
	}
	assembled := func(text string) (*Result, error) {
		return assembleSmall(t, func(doc *Document, o *Options) {
			change, err := ParseOverlay([]byte(text), "site.yaml", dir)
			if err != nil {
				t.Fatal(err)
			}
			changed, err := doc.Overlay("small.yaml", change)
			if err != nil {
				t.Fatal(err)
			}
			*doc = *changed
			o.WorkDir = "/nowhere"
		})
	}
	res, err := assembled(`files:
  - path: etc/motd
    replace: [{text: ell, with: ipp}]
    append: " all"
    mode: "0600"
  - {path: bin/sh, append: "ell", replace: [{text: s, with: S}]}
  - {path: etc/ssl/ca.crt, append: "new", optional: true}
  - {path: etc/own, source: own.txt, append: "!"}
`)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"etc/motd": "hippo all", "bin/sh": "Shell", "etc/ssl/ca.crt": "new", "etc/own": "own!"} {
		e, ok := res.Tree.Lookup(path)
		if got := content(t, e); !ok || got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	if e, _ := res.Tree.Lookup("etc/motd"); e.Mode != 0o600 {
		t.Errorf("etc/motd has the mode %o", e.Mode)
	}
	if e, _ := res.Tree.Lookup("bin/sh"); e.Mode != imageMode(t, "bin/sh") {
		t.Errorf("bin/sh has the mode %o, not the image's", e.Mode)
	}
	for text, want := range map[string]string{
		"files: [{path: etc/none, append: x}]":                       `file "etc/none" (line 1 of site.yaml): neither the document nor an image has this file`,
		"files: [{path: etc/motd, replace: [{text: bye, with: x}]}]": `it does not contain the text "bye"`,
		"files: [{path: bin, append: x}]":                            "it is not a regular file",
		"files: [{path: etc/x, source: none.txt}]":                   filepath.Join(dir, "none.txt"),
		"services: [{name: new, image: none}]":                       `services[1] (line 1 of site.yaml)`,
	} {
		if _, err := assembled(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func imageMode(t *testing.T, path string) uint32 {
	t.Helper()
	e, ok := smallImages(t)["docker.io/linuxkit/init:1"].Tree.Lookup(path)
	if !ok {
		t.Fatalf("no %s in the image", path)
	}
	return e.Mode
}

// A hard link in an image is a file of its own once its text is changed.
func TestOverlayEditsOneOfTwoNames(t *testing.T) {
	doc := mustParse(t, "init: [a]\n")
	o, err := ParseOverlay([]byte("files: [{path: first, append: more}]\n"), "site.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = doc.Overlay("small.yaml", o); err != nil {
		t.Fatal(err)
	}
	res, err := Assemble(t.Context(), doc, Options{Images: images{"docker.io/library/a": image(t, "first=text", "second=>first")}})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := res.Tree.Lookup("first")
	second, _ := res.Tree.Lookup("second")
	if second.Type == initramfs.HardLink {
		second, _ = res.Tree.Lookup(second.Target)
	}
	if content(t, first) != "textmore" || content(t, second) != "text" {
		t.Errorf("first has %q, second has %q", content(t, first), content(t, second))
	}
}

func FuzzOverlay(f *testing.F) {
	f.Add("services: [{name: getty, env.add: [A=2], binds.remove: [/run]}]\nremove: {files: [etc/old]}\n")
	f.Add("onboot: [{name: udev, after: dhcp}]\nfiles: [{path: etc/motd, append: x, replace: [{text: h, with: H}]}]\n")
	f.Add("kernel: {cmdline: x}\ninit: [a]\nvolumes: [{name: b}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOverlay([]byte(text), "site.yaml", "")
		if err != nil {
			return
		}
		base := mustParse(t, overlaid)
		changed, err := base.Overlay("base", o)
		if !cmp.Equal(base, mustParse(t, overlaid), cmp.AllowUnexported(Container{}, File{}, ImageRef{}, Volume{}, KernelConfig{})) {
			t.Fatal("the document itself has changed")
		}
		if err != nil {
			return
		}
		if err := changed.check(); err != nil {
			t.Fatal(err)
		}
	})
}
