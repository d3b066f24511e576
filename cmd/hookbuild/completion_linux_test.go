package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hookbuild/test/ptytest"
	"hookbuild/test/testneed"
)

// completions lists what is typed before a tab, and the line that the shell makes
// of it.
func completions() []struct{ typed, becomes string } {
	const images = "registry.example/eks/tinkerbell/actions/"
	const tag = "1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e-build.1"
	return []struct{ typed, becomes string }{
		{"kernel-b", "kernel-build"},
		{"kernel hook-latest-lts-am", "kernel hook-latest-lts-amd64"},
		{"all --config none --hook-dir other own-", "all --config none --hook-dir other own-flavor-amd64"},
		{"kernel own-", "kernel own-flavor-amd64"}, // hookbuild.yaml names the checkout
		{"all --embed-f", "all --embed-from-bundle"},
		{"all --template ho", "all --template hook"},
		{"all --compression=gz", "all --compression=gzip"},
		{"all --bundle act", "all --bundle actions.yaml"},
		{"all --bundle=act", "all --bundle=actions.yaml"},
		{"all --kernel dir:oth", "all --kernel dir:other/"},
		{"all --kernel=deb:act", "all --kernel=deb:actions.yaml"},
		{"embed --base oth", "embed --base other/"},
		{"all --bundle actions.yaml --image " + images + "ce", "all --bundle actions.yaml --image " + images + "cexec:" + tag},
		{"all --bundle actions.yaml --image " + images + "cexec:1", "all --bundle actions.yaml --image " + images + "cexec:" + tag},
		{"all --image ghcr.io/x/tools:1=", "all --image ghcr.io/x/tools:1=127.0.0.1/embedded/tools"},
		{"all --image site.ex", "all --image site.example:5000/tools:v2"}, // in hookbuild.yaml
		{"all HOOK_V", "all HOOK_VERSION="},
		{"dhcp check --server dns", "dhcp check --server dnsmasq"},
		{"cache lsx", "cache lsx"},
	}
}

// completionDir changes to a directory with what [completions] names.
func completionDir(t *testing.T) {
	t.Helper()
	hook, bundle := mustAbs(t, "../../testdata/hook"), mustAbs(t, "../../testdata/bundles/actions.yaml")
	t.Chdir(t.TempDir())
	if err := os.CopyFS("other", os.DirFS(hook)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bundle, "actions.yaml"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"other/kernel/flavors.yaml": "flavors:\n  - id: own-flavor-amd64\n    arch: amd64\n    series: \"6.6\"\n",
		"hookbuild.yaml":            "hook:\n  dir: other\nembed:\n  images:\n    - site.example:5000/tools:v2\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TERM", "dumb")
}

// screen collects what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *screen) follow(terminal io.Reader) {
	defer close(s.more)
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		s.mu.Lock()
		s.text.Write(buffer[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// await waits until the screen shows text, and clears it up to there.
func (s *screen) await(t *testing.T, text string) string {
	t.Helper()
	for {
		s.mu.Lock()
		shown := s.text.String()
		if before, after, found := strings.Cut(shown, text); found {
			s.text.Reset()
			s.text.WriteString(after)
			s.mu.Unlock()
			return before
		}
		s.mu.Unlock()
		select {
		case _, open := <-s.more:
			if !open {
				t.Fatalf("the shell ended without %q; the screen shows:\n%s", text, shown)
			}
		case <-t.Context().Done():
			t.Fatalf("the screen lacks %q:\n%s", text, shown)
		}
	}
}

// completeIn types into an interactive shell, which has a function hookbuild that
// prints its arguments, and returns what the line became.
func completeIn(t *testing.T, setup string, shell ...string) func(typed string) string {
	t.Helper()
	path := testneed.Tool(t, shell[0])
	user, terminal := ptytest.Open(t)
	c := exec.CommandContext(t.Context(), path, shell[1:]...)
	c.Stdin, c.Stdout, c.Stderr = terminal, terminal, terminal
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	c.Cancel = func() error { return c.Process.Kill() }
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // a shell ignores most signals
		_ = c.Wait()
	})
	s := &screen{more: make(chan struct{}, 1)}
	go s.follow(user)
	typeIn := func(text string) {
		if _, err := io.WriteString(user, text); err != nil {
			t.Fatal(err)
		}
	}
	const prompt = "READY"
	typeIn(setup + "; PS1=" + prompt[:2] + "''" + prompt[2:] + "\r") // the echo does not have the prompt
	s.await(t, prompt)
	return func(typed string) string {
		typeIn("hookbuild " + typed + "\t#END\r")
		s.await(t, "<<")
		line := s.await(t, ">>")
		s.await(t, prompt)
		return strings.TrimSpace(strings.TrimSuffix(line, "#END"))
	}
}

func TestCompletionInBash(t *testing.T) {
	completionDir(t)
	complete := completeIn(t, `bind 'set enable-bracketed-paste off'; shopt -u interactive_comments; source <(hookbuild completion bash); hookbuild() { printf '<''<%s>''>' "$*"; }`,
		"bash", "--noprofile", "--norc", "-i")
	for _, c := range completions() {
		if got := complete(c.typed); got != c.becomes {
			t.Errorf("%q becomes %q, want %q", c.typed, got, c.becomes)
		}
	}
}

func TestCompletionInZsh(t *testing.T) {
	completionDir(t)
	complete := completeIn(t, `unsetopt promptsp zle; autoload -U compinit; compinit -u; source <(hookbuild completion zsh); hookbuild() { printf '<''<%s>''>' "$*" }; setopt zle`,
		"zsh", "-f", "-i")
	for _, c := range completions() {
		if got := complete(c.typed); got != c.becomes {
			t.Errorf("%q becomes %q, want %q", c.typed, got, c.becomes)
		}
	}
}

// Fish tells what it would offer without a terminal.
func TestCompletionInFish(t *testing.T) {
	fish := testneed.Tool(t, "fish")
	completionDir(t)
	for _, c := range completions() {
		typed, last := c.typed, strings.LastIndex(c.typed, " ")+1
		out, err := exec.CommandContext(t.Context(), fish, "--no-config", "-c", `hookbuild completion fish | source; complete -C "hookbuild $argv"`, typed).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		offered, _, _ := strings.Cut(string(out), "\n")
		offered, _, _ = strings.Cut(offered, "\t")
		if offered == "" {
			offered = typed[last:]
		}
		if got := typed[:last] + offered; got != c.becomes {
			t.Errorf("%q becomes %q, want %q", typed, got, c.becomes)
		}
	}
}

// A wrong hookbuild.yaml does not prevent completion.
func TestCompletionWithWrongFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("hookbuild.yaml", []byte("flavors: {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code := run(t.Context(), []string{completeCommand, "kernel", "hook-latest-lts-am"}, environment{getenv: os.Getenv, stdout: &out, stderr: io.Discard})
	if want := "hook-latest-lts-amd64\tamd64 6.6\n"; code != 0 || out.String() != want {
		t.Errorf("exit code %d, answer %q, want %q", code, out.String(), want)
	}
}

// Every option's value is completed, or is one that nobody can guess.
func TestEveryValueIsCompleted(t *testing.T) {
	completionDir(t)
	free := strings.Fields("AGE ARGS [ARCH=]ENGINE CIDR CLASS CONFIG_X CONFIG_X=VALUE DOMAIN DURATION FROM=TO HEX HOST HOST:PORT ID IP KEY=VALUE KIB KINDS MIB N NAME PATTERN PATH PORT REPOSITORY SIZE TIME TTY[,BAUD] URL VERSION")
	checked := 0
	var look func(path []string, flags []cli.Flag, commands []*cli.Command)
	look = func(path []string, flags []cli.Flag, commands []*cli.Command) {
		for _, f := range flags {
			doc, ok := f.(cli.DocGenerationFlag)
			if !ok || !doc.TakesValue() {
				continue
			}
			placeholder, _ := unquoteUsage(doc.GetUsage())
			var out strings.Builder
			args := slices.Concat([]string{completeCommand}, path, []string{"--" + f.Names()[0], ""})
			if code := run(t.Context(), args, environment{getenv: os.Getenv, stdout: &out, stderr: io.Discard}); code != 0 {
				t.Fatalf("%v: exit code %d", args, code)
			}
			if out.Len() == 0 && !slices.Contains(free, placeholder) {
				t.Errorf("%v --%s %s: nothing is offered", path, f.Names()[0], placeholder)
			}
			checked++
		}
		for _, c := range commands {
			look(append(path[:len(path):len(path)], c.Name), c.Flags, c.Subcommands)
		}
	}
	root := newRootCommand(&app{})
	look(nil, root.Flags, root.Commands)
	if checked < 100 {
		t.Errorf("only %d options were looked at", checked)
	}
}
