package linuxkit

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestGolden compares a container's config.json with linuxkit's own; here are
// configurations that must be rejected.
func TestContainerSpecFaults(t *testing.T) {
	tests := []struct{ name, keys, want string }{
		{"tmpfs", `tmpfs: ["/a:b:c"]`, `tmpfs "/a:b:c" has too many colons`},
		{"short bind", `binds: ["/a"]`, `bind "/a" is not`},
		{"long bind", `binds: ["/a:/b:c:d"]`, "is not SOURCE:DESTINATION"},
		{"mount without type", `mounts: [{destination: /x}]`, `the mount on "/x" has no type`},
		{"mount without destination", `mounts: [{type: tmpfs}]`, `the mount of type "tmpfs" has no destination`},
		{"capability", `capabilities: [NET_ADMIN]`, `capabilities: "NET_ADMIN" is not a capability`},
		{"all among others", `capabilities: [CAP_CHOWN, all]`, `"all" must be alone`},
		{"ambient", `ambient: [CAP_NOTHING]`, `ambient: "CAP_NOTHING"`},
		{"short rlimit", `rlimits: ["nofile,1"]`, `rlimit "nofile,1": it is not NAME,SOFT,HARD`},
		{"unknown rlimit", `rlimits: ["files,1,2"]`, `"FILES" is not a limit`},
		{"rlimit value", `rlimits: ["nofile,1,many"]`, `"many" is neither a number`},
		{"rlimit range", `rlimits: ["nofile,1,99999999999999999999"]`, "is neither a number"},
		{"uid", `uid: "5"`, `uid: no container is named "5"`},
		{"gid", `gid: nobody`, `gid: no container is named "nobody"`},
		{"additional", `additionalGids: [x]`, `additionalGids: no container`},
		{"device mode", `devices: [{path: /dev/x, type: c}]`, `device "/dev/x": the mode "" is not octal`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := mustParse(t, "services:\n  - name: a\n    image: b\n    "+tt.keys+"\n")
			_, _, err := containerSpec(doc.Services[0], v1.Config{}, doc.containerIDs())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want an error with %q", err, tt.want)
			}
		})
	}
}

// The containers that run an image do not change it.
func TestContainerSpecLeavesInputAlone(t *testing.T) {
	doc := mustParse(t, "services:\n  - {name: a, image: b, resources: {devices: [{allow: false}]}, devices: [{path: all, type: b}]}\n")
	for range 2 {
		spec, _, err := containerSpec(doc.Services[0], v1.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(spec.Linux.Resources.Devices); n != 2 {
			t.Errorf("%d device rules, want 2", n)
		}
	}
	if n := len(doc.Services[0].Resources.Devices); n != 1 {
		t.Errorf("the document has %d device rules now", n)
	}
}

func TestReadOnlyVolume(t *testing.T) {
	for _, tt := range []struct{ keys, want string }{
		{`binds: ["v:/x:ro"]`, ""},
		{`binds: ["v:/x:ro,nosuid"]`, ""},
		{`binds: ["v:/x"]`, `the volume "v" is read-only`},
		{`binds.add: ["v:/x:rw"]`, `the volume "v" is read-only`},
		{`mounts: [{type: bind, source: v, destination: /x, options: [rw, ro]}]`, `mount on "/x"`},
		{`mounts: [{type: bind, source: v, destination: /x, options: [ro]}]`, ""},
		{`mounts: [{type: tmpfs, source: v, destination: /x}]`, ""},
	} {
		doc := mustParse(t, "volumes: [{name: v, readonly: true}]\nservices:\n  - name: a\n    image: b\n    "+tt.keys+"\n")
		_, err := doc.withVolumes(doc.Services[0])
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v; want %q", tt.keys, err, tt.want)
		}
	}
}
