package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/site"
	"hookbuild/test/ptytest"
)

// initOn runs init on a terminal on which text is typed.
func initOn(t *testing.T, text string) (dir, screen string, code int) {
	t.Helper()
	hook, err := filepath.Abs("../../testdata/hook")
	if err != nil {
		t.Fatal(err)
	}
	return initWith(t, text, "--hook-dir", hook)
}

// initWith is initOn with other options.
func initWith(t *testing.T, text string, options ...string) (dir, screen string, code int) {
	t.Helper()
	dir = t.TempDir()
	t.Chdir(dir)
	machine := "01:00.0 Ethernet controller [0200]: Intel Corporation E810-C [8086:1592]\n"
	if err := os.WriteFile("machine.txt", []byte(machine), 0o600); err != nil {
		t.Fatal(err)
	}
	user, terminal := ptytest.Open(t)
	if _, err := io.WriteString(user, text); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr strings.Builder
	code = run(ctx, append(options, "--progress", "plain", "init"), environment{
		getenv: func(string) string { return "" }, stdin: terminal, stdout: io.Discard, stderr: screenWriter{&stderr, text, cancel},
	})
	return dir, stderr.String(), code
}

// Init asks on a terminal, and asks again for what is wrong.
func TestInitAsks(t *testing.T) {
	dir, screen, code := initOn(t, "hook-nonsense\nhook-latest-lts-amd64\n\nperhaps\nyes\nabsent.csv\n\nmachine.txt\n")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, screen)
	}
	f, err := site.Read(filepath.Join(dir, site.Name))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Flavors) != 1 || f.Flavors[0] != "hook-latest-lts-amd64" || len(f.Kernel.Options) != 2 || f.Kernel.Options[0].Set != "CONFIG_ICE=m" || f.Kernel.Options[1].Set != "CONFIG_PCI_MSI=y" || !f.Embed.FromBundle {
		t.Errorf("the answers became %+v", f.Config)
	}
	for _, text := range []string{`choosing the flavor "hook-nonsense"`, "absent.csv: no such file", `"perhaps": answer yes or no`, "Cluster specification of EKS Anywhere", "lacks 2 options for these devices: the file sets them and kernel: from: build"} {
		if !strings.Contains(screen, text) {
			t.Errorf("the screen lacks %q:\n%s", text, screen)
		}
	}
}

// Without a checkout, init asks for one. It does not say before that upstream's is
// meant.
func TestInitAsksForTheCheckout(t *testing.T) {
	_, screen, code := initWith(t, "\n\n\n\n\n\n")
	if code != 0 || !strings.Contains(screen, "Hook checkout, a directory") || strings.Contains(screen, "there is no Hook checkout here") {
		t.Errorf("exit code %d:\n%s", code, screen)
	}
}

// Enter embeds nothing where nothing says that the site has EKS Anywhere.
func TestInitEmbedsNothingUnasked(t *testing.T) {
	t.Setenv("PATH", "") // no eksctl
	dir, screen, code := initOn(t, "\n\n\n\n\n")
	if code != 0 || !strings.Contains(screen, "yes or no (Enter: no)") {
		t.Fatalf("exit code %d:\n%s", code, screen)
	}
	f, err := site.Read(filepath.Join(dir, site.Name))
	if err != nil {
		t.Fatal(err)
	}
	if f.Embed.FromBundle {
		t.Error("the file embeds a bundle's images")
	}
}

// A cluster specification leaves nothing to ask of bundles.
func TestInitWithACluster(t *testing.T) {
	cluster := filepath.Join(t.TempDir(), "cluster.yaml")
	text := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nspec: {eksaVersion: v0.24.2}\n"
	if err := os.WriteFile(cluster, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, screen, code := initOn(t, "\n"+cluster+"\n\n\n")
	if code != 0 || strings.Contains(screen, "yes or no") {
		t.Errorf("exit code %d:\n%s", code, screen)
	}
}

// The end of input (Ctrl-D) ends init, and nothing is written.
func TestInitEndsWithItsInput(t *testing.T) {
	dir, screen, code := initOn(t, "hook-latest-lts-amd64\n\x04")
	if code != 2 || !strings.Contains(screen, "the terminal was closed; no file was written") {
		t.Errorf("exit code %d:\n%s", code, screen)
	}
	if _, err := os.Lstat(filepath.Join(dir, site.Name)); err == nil {
		t.Error("a file was written")
	}
}

// screenWriter interrupts init at the first question when nothing is typed.
type screenWriter struct {
	*strings.Builder
	typed     string
	interrupt func()
}

func (w screenWriter) Write(p []byte) (int, error) {
	if w.typed == "" && strings.Contains(string(p), "Flavor, as") {
		w.interrupt()
	}
	return w.Builder.Write(p)
}

// An interruption is reported below the question.
func TestInitInterrupted(t *testing.T) {
	dir, screen, code := initOn(t, "")
	if code != exitInterrupted || !strings.Contains(screen, "\nhookbuild: interrupted; no file was written") {
		t.Errorf("exit code %d:\n%s", code, screen)
	}
	if _, err := os.Lstat(filepath.Join(dir, site.Name)); err == nil {
		t.Error("a file was written")
	}
}
