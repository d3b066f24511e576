package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"hookbuild/test/lab"
)

// needs are the requirements of a comparison.
type needs struct {
	what string // the subject of the message
	root bool
	// tools maps programs to their Debian packages.
	tools []tool
}

type tool struct{ program, debian string }

// labTools are the tools for the demonstration's images.
func labTools() []tool {
	return []tool{{"go", "golang"}, {"apt-get", "apt"}, {"dpkg-deb", "dpkg"}}
}

func dockerTools() []tool {
	return []tool{{"docker", "docker.io"}, {"dockerd", "docker.io"}, {"bash", "bash"}, {"tar", "tar"}}
}

func comparing() needs {
	own := []tool{{"cpio", "cpio"}, {"zstd", "zstd"}, {"pigz", "pigz"}, {"rdfind", "rdfind"}}
	return needs{"comparing with the old way", true, append(append(labTools(), dockerTools()...), own...)}
}

func watching() needs { return needs{"watching hookbuild's memory", false, labTools()} }

func packing() needs {
	return needs{"comparing with mksquashfs", true, append(append(labTools(), dockerTools()...), tool{"mksquashfs", "squashfs-tools"})}
}

// encoding returns the requirements for making a HookOS, unless its root file
// system is given.
func encoding(given bool) needs {
	own := []tool{{"zstd", "zstd"}, {"bash", "bash"}}
	if !given {
		own = append(own, labTools()...)
	}
	return needs{"comparing zstd encoders", false, own}
}

func booting() needs {
	debian := map[string]string{"amd64": "qemu-system-x86", "arm64": "qemu-system-arm"}[runtime.GOARCH]
	own := []tool{{"cpio", "cpio"}, {"zstd", "zstd"}, {lab.Emulator(runtime.GOARCH), debian}}
	return needs{"comparing boots", true, append(append(labTools(), dockerTools()...), own...)}
}

// check returns one error about everything that is missing.
func (n needs) check() error {
	var programs, packages []string
	for _, t := range n.tools {
		if _, err := exec.LookPath(t.program); err != nil {
			programs, packages = append(programs, t.program), append(packages, t.debian)
		}
	}
	if len(programs) > 0 {
		return fmt.Errorf("%s needs %s: apt-get install %s", n.what, strings.Join(programs, ", "), strings.Join(packages, " "))
	}
	if n.root && os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root, for dockerd and the owners of files; run it as root", n.what)
	}
	return nil
}
