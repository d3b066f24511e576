package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// TestInterruptedCommands checks that a command which keeps no downloads does not say
// that it does.
func TestInterruptedCommands(t *testing.T) {
	s, dir := site.New(t, nil), t.TempDir()
	in := filepath.Join(dir, "in")
	baseInitramfs(t, in, initramfs.Gzip)
	out := artifactsOf(t, "hook", artifact.Build{Arch: "x86_64", Flavor: "hook-default-amd64"})
	for want, args := range map[string][]string{
		"interrupted; downloads stay in the cache, and no artifact was changed": {"embed", "--initramfs", in, "-o", in + ".out", "--image", s.Host + "/none:v1"},
		"interrupted": {"verify", out},
	} {
		got := runAt(canceled(), s, append(args, "--cache-dir", filepath.Join(dir, "cache"), "--progress", "plain")...)
		if got.code != exitInterrupted || !strings.HasSuffix(got.stderr, "hookbuild: "+want+"\n") {
			t.Errorf("%v: exit code %d\n%s", args, got.code, got.stderr)
		}
	}
}

// TestInterruptionsOfAllCommands checks that the lists name commands, and no command
// that only reads what is on this machine.
func TestInterruptionsOfAllCommands(t *testing.T) {
	var all []string
	var collect func(commands []*cli.Command, above string)
	collect = func(commands []*cli.Command, above string) {
		for _, c := range commands {
			name := strings.TrimSpace(above + " " + c.Name)
			all = append(all, name)
			collect(c.Subcommands, name)
		}
	}
	collect(newRootCommand(&app{}).Commands, "")
	for _, name := range slices.Concat(makers(), fetchers()) {
		if !slices.Contains(all, name) {
			t.Errorf("%s is not a command", name)
		}
	}
	for _, name := range []string{"run", "serve", "verify", "netboot serve", "dhcp check", "cache verify", "doctor", "push"} {
		a := &app{names: strings.Fields(name)}
		if text := a.interruption(); !slices.Contains(all, name) || text != "interrupted" {
			t.Errorf("%s says %q", name, text)
		}
	}
	if text := (&app{names: []string{"qemu"}, wrote: true}).interruption(); !strings.Contains(text, "written before") {
		t.Errorf("qemu, whose build is done, says %q", text)
	}
}
