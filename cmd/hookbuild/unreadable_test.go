package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
)

// What an ordinary user may not read is not said to be incomplete or not there.
func TestWhatMayNotBeReadIsNotSaidToBeMissing(t *testing.T) {
	dir, run := ordinary(t)
	home := t.TempDir()
	for _, name := range []string{"hook/linuxkit-templates/hook.template.yaml", "hook/kernel/configs/generic", "out/vmlinuz-x86_64", "out/initramfs-x86_64", "image.tar"} {
		site.WriteFile(t, filepath.Join(home, name), "x")
	}
	if err := errors.Join(os.Chmod(filepath.Dir(home), 0o755), os.Chmod(home, 0o700)); err != nil {
		t.Fatal(err)
	}
	denied := func(args ...string) string {
		t.Helper()
		said, err := run(append(args, "--progress", "plain")...)
		if err == nil || !strings.Contains(said, "permission denied") || strings.Contains(said, "there is no") || strings.Contains(said, "lacks") {
			t.Errorf("%v: %v\n%s", args, err, said)
		}
		return said
	}
	remedy := "run hookbuild as a user who may read the checkout"
	says(t, denied("plan", "--hook-dir", filepath.Join(home, "hook")), "opening the Hook checkout", remedy)
	site.WriteFile(t, filepath.Join(dir, "hookbuild.yaml"), "hook: {dir: "+filepath.Join(home, "hook")+"}\n")
	says(t, denied("flavors"), remedy)
	if err := os.Remove(filepath.Join(dir, "hookbuild.yaml")); err != nil {
		t.Fatal(err)
	}
	says(t, denied("images", "--image", "docker-archive:"+home+"/image.tar:r.example/x"), home+"/image.tar: permission denied")
	denied("netboot", "serve", filepath.Join(home, "out"), "--ip", "192.0.2.10")

	// The current directory is a checkout with closed parts.
	site.WriteFile(t, filepath.Join(dir, "linuxkit-templates/hook.template.yaml"), "x")
	site.WriteFile(t, filepath.Join(dir, "kernel/configs/generic"), "x")
	if err := os.Chmod(filepath.Join(dir, "kernel"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"plan", "flavors", "init"} {
		says(t, denied(command), "finding the Hook checkout", remedy)
	}
}
