package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/site"
)

// fullFile is a file with every key.
const fullFile = "../../site/testdata/full.yaml"

// capture runs a command line and returns the context that the command's action
// got, with what was printed.
func capture(t *testing.T, env map[string]string, args ...string) (*app, *cli.Context, string) {
	t.Helper()
	var stderr strings.Builder
	a := &app{environment: environment{getenv: func(k string) string { return env[k] }, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr}}
	root := newRootCommand(a)
	var got *cli.Context
	var replace func(commands []*cli.Command)
	replace = func(commands []*cli.Command) {
		for _, c := range commands {
			c.Action = func(c *cli.Context) error { got = c; return nil }
			if len(c.Subcommands) == 0 {
				c.Before = a.applyToCommand // which does not look at the files that are named
			}
			replace(c.Subcommands)
		}
	}
	replace(root.Commands)
	line, err := arrange(root, args)
	if err != nil {
		t.Fatal(err)
	}
	a.variables, a.names, a.options = line.variables, line.names, line.options
	if err := root.RunContext(t.Context(), append([]string{"hookbuild"}, line.sorted...)); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return a, got, stderr.String()
}

// leaves returns the commands that do something, with their full names.
func leaves(t *testing.T) map[string]*cli.Command {
	t.Helper()
	found := map[string]*cli.Command{}
	var visit func(prefix string, commands []*cli.Command)
	visit = func(prefix string, commands []*cli.Command) {
		for _, c := range commands {
			if len(c.Subcommands) == 0 {
				found[prefix+c.Name] = c
			}
			visit(prefix+c.Name+" ", c.Subcommands)
		}
	}
	visit("", commands(&app{}))
	return found
}

// valueText returns what a command reads of an option.
func valueText(c *cli.Context, name string) string {
	if list, ok := c.Value(name).([]string); ok {
		return strings.Join(list, " | ")
	}
	if list := c.StringSlice(name); list != nil {
		return strings.Join(list, " | ")
	}
	if d, ok := c.Value(name).(time.Duration); ok {
		return strings.TrimSuffix(d.String(), "0m0s")
	}
	return fmt.Sprint(c.Value(name))
}

// TestEveryKeyHasItsEffect runs every command with a file that has every key, and
// compares what the command reads of each option and variable.
func TestEveryKeyHasItsEffect(t *testing.T) {
	file, err := site.Read(fullFile)
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for name, command := range leaves(t) {
		if slices.Contains(withoutFile(), strings.Fields(name)[0]) {
			continue
		}
		a, c, _ := capture(t, nil, append([]string{"--config", fullFile}, strings.Fields(name)...)...)
		for _, s := range file.Settings() {
			if s.Flag == "" {
				if got := a.variable(s.Variable); got != strings.Join(s.Values, ",") {
					t.Errorf("%s: %s is %q", name, s.Variable, got)
				}
				reached[s.Key] = true
				continue
			}
			global := slices.Contains(namesOf(globalFlags()), s.Flag)
			option := optionFor(s, a.names[0], global)
			if !global && !slices.Contains(namesOf(command.Flags), option) {
				continue
			}
			if by, ok := a.site.applied[option]; ok && by.Key != s.Key {
				continue // netboot.eksa-version in the place of embed.eksa-version
			}
			if name == "kit load" && option == "offline" {
				continue // it takes nothing from the network
			}
			if got := valueText(c, option); got != strings.Join(s.Values, " | ") {
				t.Errorf("%s: --%s is %q, and %s is %q", name, option, got, s.Key, s.Values)
			}
			if !c.IsSet(option) {
				t.Errorf("%s: --%s does not count as set", name, option)
			}
			reached[s.Key] = true
		}
	}
	for _, key := range site.Keys() {
		if key.Flag+key.Variable != "" && !reached[key.Path] {
			t.Errorf("no command takes %s", key.Path)
		}
	}
}

// TestSectionsReachTheirCommands fails for a command that has the option of a key and
// takes it from no key, and for one that is listed and takes nothing of the section.
func TestSectionsReachTheirCommands(t *testing.T) {
	// The commands where the option means something else, or one run.
	otherwise := map[string]string{
		"bundle": "verify", "cluster": "init serve", "firmware": "run verify dhcp", "fragment": "dhcp kernel-config", "hardware": "init",
		"http-port": "netboot", "interface": "netboot", "max-size": "cache", "modules": "inspect", "set": "kernel-config",
	}
	takes := map[string]bool{}
	for name, command := range leaves(t) {
		top := strings.Fields(name)[0]
		has := namesOf(command.Flags)
		reached, missed := map[string]bool{}, map[string]string{}
		for _, key := range site.Keys() {
			if key.Flag == "" || slices.Contains(namesOf(globalFlags()), key.Flag) {
				continue
			}
			section, _, _ := strings.Cut(key.Path, ".")
			if option := optionFor(site.Setting{Key: key.Path, Flag: key.Flag}, top, false); slices.Contains(has, option) {
				takes[section+" "+top], reached[option] = true, true
			} else if slices.Contains(has, key.Flag) {
				missed[key.Flag] = key.Path
			}
		}
		for flag, key := range missed {
			if !reached[flag] && !slices.Contains(strings.Fields(otherwise[flag]), top) {
				t.Errorf("%s has --%s and does not take %s", name, flag, key)
			}
		}
	}
	for section, commands := range sectionCommands() {
		for _, name := range commands {
			if !takes[section+" "+name] {
				t.Errorf("%s takes nothing of %s", name, section)
			}
		}
	}
}

// TestEveryOptionHasAKey fails for an option of all, or of every command, that no
// key sets and that has no reason for it.
func TestEveryOptionHasAKey(t *testing.T) {
	reasons := map[string]string{
		"config":   "names the file itself",
		"progress": "is about the terminal of who runs a build",
		"debug":    "is about one run",
		"jobs":     "is about the machine that builds",

		"kit": "is about one run, which has no network",

		"locked":    "is about one run, which builds what hookbuild.lock says",
		"lock-file": "is beside the file",
	}
	keys := map[string]bool{}
	for _, key := range site.Keys() {
		keys[key.Flag] = true
	}
	for _, name := range namesOf(concat(globalFlags(), newAllCommand(&app{}).Flags, buildKernelFlags(), planFlags())) {
		if keys[name] == (reasons[name] != "") {
			t.Errorf("--%s has the reason %q for having no key; has a key: %t", name, reasons[name], keys[name])
		}
	}
	variables := map[string]string{
		"DEBUG": "is about one run", "USE_LATEST_BUILT_KERNEL": "is kernel.from: latest",
		"DO_PUSH": "is about one run", "FORCE_BUILD_KERNEL": "is about one run",
		"EXPORT_KERNEL_IMAGE": "is about one run", "EXPORT_KERNEL_IMAGE_DIR": "is about one run",
		"EXPORT_LK_CONTAINERS": "is about one run", "EXPORT_LK_CONTAINERS_DIR": "is about one run",
		"TINK_SERVER": "is about the machine that run boots", "MAC": "is about the machine that run boots",
		"TINK_WORKER_IMAGE": "is about the machine that run boots", "TINK_TLS": "is about the machine that run boots", "TINK_GRPC_PORT": "is about the machine that run boots",
		"CI_TAGS": "is about a CI", "CI_RUNNERS_SELF_HOSTED_TAG": "is about a CI", "CI_RUNNER": "is about a CI", "GITHUB_OUTPUT": "is about a CI",
	}
	for _, name := range knownVariables() {
		has := slices.ContainsFunc(site.Keys(), func(k site.Key) bool { return k.Variable == name })
		if has == (variables[name] != "") {
			t.Errorf("%s has the reason %q for having no key; has a key: %t", name, variables[name], has)
		}
	}
}

// TestPrecedence sets one thing in all places and takes them away one after the
// other.
func TestPrecedence(t *testing.T) {
	file := writeSite(t, "arch: arm64\nkernel: {version: 3}\noutput: {dir: of-the-file, tar: true}\nnetwork: {mirrors: [{from: a, to: b}, {from: c, to: d}]}\n")
	both := []string{"--config", file, "kernel", "--arch", "amd64", "--kernel-version", "1", "--mirror", "x=y", "--out", "here"}
	env := map[string]string{"KERNEL_POINT_RELEASE": "2", "DOCKER_ARCH": "amd64"}
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"option":      {env, both, "amd64 1 x=y here"},
		"variable":    {env, []string{"--config", file, "kernel", "KERNEL_POINT_RELEASE=4"}, "amd64 4 a=b,c=d " + filepath.Join(filepath.Dir(file), "of-the-file")},
		"environment": {env, []string{"--config", file, "kernel"}, "amd64 2 a=b,c=d " + filepath.Join(filepath.Dir(file), "of-the-file")},
		"file":        {nil, []string{"--config", file, "kernel"}, "arm64 3 a=b,c=d " + filepath.Join(filepath.Dir(file), "of-the-file")},
		"default":     {nil, []string{"--config", "none", "kernel"}, "   out"},
	} {
		a, c, _ := capture(t, test.env, test.args...)
		arch, err := a.dockerArch(c)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join([]string{arch, a.flagOr(c, "kernel-version", "KERNEL_POINT_RELEASE"), strings.Join(c.StringSlice("mirror"), ","), c.String("out")}, " ")
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// writeSite writes a hookbuild.yaml into a directory of its own.
func writeSite(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), site.Name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An option takes the place of the keys that contradict it.
func TestOptionsDisplaceKeys(t *testing.T) {
	build := "kernel: {from: build, version: 3, options: [CONFIG_X=y], fragments: [f], source-mirrors: [https://m.example], builder: {base: debian:12}, firmware: fw}\nbuilders: {arm64: ssh://arm}\n"
	for name, test := range map[string]struct {
		file string
		env  map[string]string
		args []string
		none []string // options that the file must not set
		set  []string
	}{
		"another kernel":         {build, nil, []string{"all", "--kernel", "latest"}, []string{"kernel-version", "set", "fragment", "source-mirror", "builder-base"}, []string{"firmware", "builder"}},
		"the same kernel":        {build, nil, []string{"all", "--kernel", "build"}, nil, []string{"kernel-version", "set", "fragment"}},
		"by variable":            {build, map[string]string{"USE_LATEST_BUILT_KERNEL": "yes"}, []string{"all"}, []string{"kernel", "set"}, []string{"firmware"}},
		"variable that means no": {build, map[string]string{"USE_LATEST_BUILT_KERNEL": "no"}, []string{"all"}, nil, []string{"kernel", "set"}},
		"document":               {build + "template: hook\n", nil, []string{"linuxkit", "--yaml", "x.yaml"}, []string{"kernel", "set", "template", "firmware"}, nil},
		"bundle":                 {"embed: {eksa-version: v0.24.1}", nil, []string{"images", "--bundle", "b"}, []string{"eksa-version"}, nil},
		"release":                {"embed: {bundle: b}", nil, []string{"images", "--eksa-version", "v0.24.1"}, []string{"bundle"}, nil},
		"cluster":                {"embed: {eksa-version: v0.24.1}", nil, []string{"images", "--cluster", "c"}, []string{"eksa-version"}, nil},
		"worker":                 {"embed: {no-worker: true}", nil, []string{"images", "--worker-image", "w"}, []string{"no-worker"}, nil},
		"compression":            {"output: {compression: zstd, level: 19}", nil, []string{"linuxkit", "--compression", "gzip"}, []string{"level"}, nil},
		"layout":                 {"embed: {pack-block: 64}", nil, []string{"all", "--layout", "directory"}, []string{"pack-block"}, nil},
		"menu":                   {build, nil, []string{"kernel-config"}, []string{"set", "fragment"}, []string{"kernel-version"}},
	} {
		a, _, notes := capture(t, test.env, append([]string{"--config", writeSite(t, test.file)}, test.args...)...)
		for _, option := range test.none {
			if s, ok := a.site.applied[option]; ok {
				t.Errorf("%s: %s sets --%s", name, s.Key, option)
			}
		}
		for _, option := range test.set {
			if _, ok := a.site.applied[option]; !ok {
				t.Errorf("%s: nothing sets --%s\n%s", name, option, notes)
			}
		}
		if !strings.Contains(notes, "using "+a.site.Path) {
			t.Errorf("%s: the file is not named:\n%s", name, notes)
		}
	}
}

// Values with commas and equal signs reach a list as they are.
func TestListsKeepCommas(t *testing.T) {
	file := writeSite(t, "kernel: {from: build, options: ['CONFIG_CMDLINE=\"a,b=c\"', CONFIG_X=y]}")
	_, c, _ := capture(t, nil, "--config", file, "all")
	if got := c.StringSlice("set"); len(got) != 2 || got[0] != `CONFIG_CMDLINE="a,b=c"` {
		t.Errorf("--set %q", got)
	}
}

// The proxy of the file counts where the environment says nothing, and before
// that of a cluster specification.
func TestProxyOfTheFile(t *testing.T) {
	file := writeSite(t, "network: {proxy: {https: http://proxy.example:3128, none: [.inside.example, 192.0.2.0/24]}}")
	for name, test := range map[string]struct {
		env           map[string]string
		address, want string
	}{
		"file":        {nil, "https://ghcr.io/v2/", "http://proxy.example:3128"},
		"exception":   {nil, "https://r.inside.example/v2/", ""},
		"network":     {nil, "https://192.0.2.7/v2/", ""},
		"plain":       {nil, "http://ghcr.io/v2/", ""},
		"environment": {map[string]string{"https_proxy": "http://other.example:1"}, "https://ghcr.io/v2/", "http://other.example:1"},
		"no_proxy":    {map[string]string{"NO_PROXY": "ghcr.io"}, "https://ghcr.io/v2/", ""},
	} {
		a, _, _ := capture(t, test.env, "--config", file, "images")
		u, err := url.Parse(test.address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.siteProxy()(u)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(got); test.want == "" && got != nil || test.want != "" && text != test.want {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestClusterReplacesTheKeyInVerify checks that verify requires the named specification
// alone, although the key is for its --template.
func TestClusterReplacesTheKeyInVerify(t *testing.T) {
	dir := t.TempDir()
	file, cluster := filepath.Join(dir, "hookbuild.yaml"), filepath.Join(dir, "c.yaml")
	for _, name := range []string{cluster, filepath.Join(dir, "own.yaml")} {
		if err := os.WriteFile(name, []byte("kind: Cluster\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte("embed:\n  cluster: own.yaml\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, c, _ := capture(t, nil, "--config", file, "verify", "--cluster", cluster)
	if c.IsSet("template") || len(a.site.replaced) != 1 || !strings.Contains(a.site.replaced[0], "--cluster replaces embed.cluster") {
		t.Errorf("--template is set: %t; replaced: %q", c.IsSet("template"), a.site.replaced)
	}
}
