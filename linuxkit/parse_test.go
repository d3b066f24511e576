package linuxkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

func TestParseFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "line 1: the document is empty"},
		{"only a comment", "# nothing\n", "the document is empty"},
		{"not valid YAML", "kernel:\n  image: [a\n", "not valid YAML"},
		{"two documents", "init: []\n---\ninit: []\n", "line 2: a second document"},
		{"a list", "- a\n", "line 1: is a list, but must be a mapping of keys to values"},
		{"text", "hello\n", "line 1: is hello, but must be a mapping"},
		{"hardware.csv", "cp-1,192.0.3.11,admin,secret,52:54:00:00:00:01\ncp-2,192.0.3.12,admin,secret,52:54:00:00:00:02\n", "line 1: is a table of values, such as a hardware.csv, but must be a mapping"},
		{"unknown key", "kernel: {image: a}\nservice: []\n", `line 2: unknown key "service"; did you mean "services"?`},
		{"unknown key like no other", "kernel: {image: a}\nx: []\n", `line 2: unknown key "x"; known are files, init, kernel, onboot, onshutdown, services, trust, volumes`},
		{"unknown key inside", "kernel:\n  image: a\n  cmdLine: x\n", `line 3: kernel: unknown key "cmdLine"`},
		{"key twice", "init: []\ninit: []\n", `line 2: the key "init" is repeated; it is first in line 1`},
		{"key twice inside", "services:\n  - name: a\n    image: b\n    name: c\n", `line 4: services[0]: the key "name" is repeated; it is first in line 2`},
		{"no value", "services:\n", "line 1: services: is empty, but must be a list"},
		{"number for text", "kernel: {image: 5}\n", "line 1: kernel.image: is 5, but must be text; put it in quotes"},
		{"mode without quotes", "files:\n  - path: a\n    contents: b\n    mode: 0644\n", "line 4: files[0].mode: is 0644, but must be text; put it in quotes"},
		{"text for a list", "services:\n  - name: a\n    image: b\n    binds: /a:/b\n", "line 4: services[0].binds: is /a:/b, but must be a list"},
		{"yes for true", "services:\n  - name: a\n    image: b\n    readonly: yes\n", "line 4: services[0].readonly: is yes, but must be true or false"},
		{"fraction", "services: [{name: a, image: b, oomScoreAdj: 1.5}]\n", "is 1.5, but must be a whole number"},
		{"out of range", "services: [{name: a, image: b, uidMappings: [{size: -1}]}]\n", "services[0].uidMappings[0].size: -1 is out of range"},
		{"id out of range", "services: [{name: a, image: b, uid: 4294967296}]\n", "services[0].uid: 4294967296 is out of range"},
		{"id of another kind", "services: [{name: a, image: b, uid: [1]}]\n", "is a list, but must be a number or a container's name"},
		{"page size", "services: [{name: a, image: b, resources: {hugepageLimits: [{pageSize: 2}]}}]\n", "pageSize: is 2, but must be text"},
		{"service without a name", "services:\n  - image: b\n", `line 2: services[0].name: "" cannot be the name of a directory`},
		{"service that climbs", "onboot:\n  - {name: .., image: b}\n", `line 2: onboot[0].name: ".." cannot be`},
		{"service with a slash", "onshutdown:\n  - {name: a/b, image: b}\n", `"a/b" cannot be`},
		{"service twice", "services:\n  - {name: a, image: b}\n  - {name: c, image: b}\n  - {name: a, image: b}\n", `line 4: services[2].name: "a" is also the name of the service in line 2`},
		{"no image", "services:\n  - {name: a}\n", "line 2: services[0].image: the image reference is empty"},
		{"bad image", "init:\n  - a\n  - \"a b\"\n", `line 3: init[1]: "a b" is not an image reference`},
		{"saved image", "services:\n  - {name: a, image: \"docker-archive:tools.tar\"}\n", "embed.images"},
		{"saved image in init", "init: [\"oci:./layout:v1\"]\n", "push it to one"},
		{"kernel package", "kernel: {image: \"deb:linux-image.deb\"}\n", "--kernel"},
		{"package", "init: [\"@pkg:./pkg/init\"]\n", "names a package of LinuxKit's source tree"},
		{"volume name", "volumes:\n  - {name: A}\n", `line 2: volumes[0].name: "A" is not a volume name`},
		{"volume twice", "volumes: [{name: a}, {name: a}]\n", `"a" is also the name of the volume in line 1`},
		{"volume format", "volumes: [{name: a, format: ext4}]\n", `"ext4" is not a format; use filesystem or oci`},
		{"oci without image", "volumes: [{name: a, format: oci}]\n", "the format oci needs an image"},
		{"file without path", "files:\n  - {contents: a}\n", `line 2: files[0]: the path "" does not name a file`},
		{"file at the root", "files: [{path: /, directory: true}]\n", "does not name a file"},
		{"file that climbs", "files: [{path: a/../../b, contents: x}]\n", `must not contain ".."`},
		{"file without content", "files: [{path: a}]\n", "has no content"},
		{"file with two contents", "files: [{path: a, contents: b, source: c}]\n", "has more than one content"},
		{"metadata of another kind", "files: [{path: a, metadata: toml}]\n", `"toml" is not a form of metadata`},
		{"mode that is not octal", "files: [{path: a, contents: b, mode: \"0888\"}]\n", `line 1: files[0].mode: "0888" is not an octal mode`},
		{"mode too large", "files: [{path: a, contents: b, mode: \"17777\"}]\n", "is not an octal mode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Parse = %v; want an error with %q", err, tt.want)
			}
			var syntax *syntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 {
				t.Errorf("%#v has no line", err)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("the error is of kind %d, want Invalid", fault.KindOf(err))
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x, x, x, x, x, x, x, x, x, x]\n")
	last := "a"
	for _, name := range strings.Split("bcdefghi", "") {
		fmt.Fprintf(&bomb, "%s: &%s [%s]\n", name, name, strings.TrimSuffix(strings.Repeat("*"+last+",", 10), ","))
		last = name
	}
	tests := map[string]string{
		"large":             "# " + strings.Repeat("x", MaxDocument),
		"alias bomb":        bomb.String(),
		"deep":              strings.Repeat("[", 100_000),
		"alias of itself":   "services: &a [*a]\n",
		"merge of itself":   "kernel: &a {<<: *a}\n",
		"undefined alias":   "init: *nothing\n",
		"binary":            "\x00\x01\xff",
		"key that is a map": "{a: b}: c\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(text)); err == nil || fault.KindOf(err) != fault.Invalid {
				t.Errorf("Parse = %v; want an invalid document", err)
			}
		})
	}
}

// Aliases are short to write, so their expansion is counted.
func TestParseAliasBudget(t *testing.T) {
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	tests := map[string]string{
		"values":  "services:\n  - {name: a, image: b, command: " + list("y", maxValues) + "}\n",
		"aliases": "services:\n  - &a {name: a, image: b, command: " + list("y", 1000) + "}\n" + strings.Repeat("  - *a\n", 300),
		"merges":  "services:\n  - &a {name: a, image: b}\n" + strings.Repeat("  - {<<: "+list("*a", 20_000)+", name: x, image: y}\n", 20),
	}
	for name, text := range tests {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: Parse = %v; want an error about the size", name, err)
		}
	}
}

func TestParseLines(t *testing.T) {
	doc := mustParse(t, "kernel:\n  image: k\ninit:\n  - a\n\n  - b\nservices:\n  - name: s\n    image: i\n    uid: 7\n    gid: s\nfiles:\n  - path: /etc//x/\n    contents: y\n")
	got := fmt.Sprint(doc.Kernel.Line, doc.Init[0].Line, doc.Init[1].Line, doc.Services[0].Line, doc.Files[0].Line)
	if want := "2 4 6 8 13"; got != want {
		t.Errorf("lines %s, want %s", got, want)
	}
	if doc.Services[0].UID.Number != 7 || doc.Services[0].GID.Name != "s" {
		t.Errorf("ids %+v, %+v", doc.Services[0].UID, doc.Services[0].GID)
	}
}

// A repository of Docker Hub may be called like a program for images.
func TestParseShortReference(t *testing.T) {
	for _, ref := range []string{"docker:27-dind", "image", "docker.io/library/oci:1", "deb:5000/site/kernel:6.6", "oci:5000/init"} { // the last two are a registry's
		if doc := mustParse(t, "init: [\""+ref+"\"]\n"); doc.Init[0].Name != ref {
			t.Errorf("init is %+v, want %s", doc.Init, ref)
		}
	}
}

func TestParseAbsentAndEmpty(t *testing.T) {
	doc := mustParse(t, "services:\n  - {name: a, image: b, binds: []}\n")
	if c := doc.Services[0]; c.Binds == nil || c.BindsAdd != nil || c.Readonly != nil {
		t.Errorf("absent and empty are mixed up: %+v", c)
	}
}

func TestExpandReference(t *testing.T) {
	for ref, want := range map[string]string{
		"redis":                       "docker.io/library/redis",
		"redis:7":                     "docker.io/library/redis:7",
		"linuxkit/init:x":             "docker.io/linuxkit/init:x",
		"docker.io/linuxkit/init":     "docker.io/linuxkit/init",
		"localhost/x:1":               "localhost/x:1",
		"host:5000/x":                 "host:5000/x",
		"ghcr.io/tinkerbell/hook/a":   "ghcr.io/tinkerbell/hook/a",
		"a/b/c:1":                     "docker.io/a/b/c:1",
		"a@sha256:" + zeros:           "docker.io/library/a@sha256:" + zeros,
		"quay.io/a:t@sha256:" + zeros: "quay.io/a:t@sha256:" + zeros,
	} {
		if got := ExpandReference(ref); got != want {
			t.Errorf("ExpandReference(%q) = %q, want %q", ref, got, want)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func FuzzParse(f *testing.F) {
	documents, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range documents {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := Parse(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("Parse(%q) = %v, which is not marked as invalid", text, err)
			}
			return
		}
		if _, err := doc.metadata("yaml"); err != nil {
			t.Errorf("metadata of %q: %v", text, err)
		}
		for _, c := range doc.Services {
			if _, err := parseLabel(""); err != nil {
				t.Fatal(err)
			}
			mergeConfig(c.ContainerConfig, c.ContainerConfig)
		}
	})
}
