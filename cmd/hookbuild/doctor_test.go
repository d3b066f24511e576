package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/doctor"
	"hookbuild/test/lab/site"
)

// check runs doctor with options and returns the check of the lab's registry.
func (l *locker) check(args ...string) (doctor.Check, []doctor.Check) {
	l.t.Helper()
	got := runAt(l.t.Context(), l.site, append([]string{"--cache-dir", l.t.TempDir(), "doctor", "--json"}, args...)...)
	var all []doctor.Check
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
		l.t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
	}
	for _, c := range all {
		if c.Name == "registry "+l.site.Host {
			return c, all
		}
	}
	l.t.Fatalf("no check of %s: %+v", l.site.Host, all)
	return doctor.Check{}, nil
}

// doctorCommands runs doctor and returns its checks by name and what it says about the
// commands.
func doctorCommands(t *testing.T, s *site.Site, args ...string) (map[string]doctor.Check, commandsCheck) {
	t.Helper()
	got := runAt(t.Context(), s, append([]string{"--cache-dir", t.TempDir(), "doctor", "--json"}, args...)...)
	var all []doctor.Check
	var commands []commandsCheck
	if err := errors.Join(json.Unmarshal([]byte(got.stdout), &all), json.Unmarshal([]byte(got.stdout), &commands)); err != nil {
		t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
	}
	checks := map[string]doctor.Check{}
	for _, c := range all {
		checks[c.Name] = c
		if c.Status != doctor.OK && c.Remedy == "" {
			t.Errorf("without a remedy: %+v", c)
		}
	}
	return checks, commands[len(commands)-1]
}

// where returns what doctor says of a command: "working", "unavailable", or what was
// not checked.
func (r commandsCheck) where(name string) string {
	for _, u := range r.Unchecked {
		if slices.Contains(u.Commands, name) {
			return u.What
		}
	}
	switch {
	case slices.Contains(r.Working, name):
		return "working"
	case slices.Contains(r.Unavailable, name):
		return "unavailable"
	}
	return "not mentioned"
}

// TestDoctorClaimsWhatItChecked says that a command works only if its needs were checked.
func TestDoctorClaimsWhatItChecked(t *testing.T) {
	l := newLocker(t)
	file := filepath.Join(t.TempDir(), "hookbuild.yaml")
	site.WriteFile(t, file, "hook: {archive: \"http://127.0.0.1:1/hook.tar.gz\"}\n")
	const ports, named = "the ports on which they listen", "the registry that you name to them"
	for name, test := range map[string]struct {
		args []string
		want map[string]string
	}{
		"a build": {l.options(), map[string]string{
			"all": "working", "plan": "working", "linuxkit": "working", "lock": "working", "embed": "working", "inspect": "working",
			"push": named, "serve": ports, "kit": "what hookbuild.lock names", "images": "the bundle manifest", "kernel": "unavailable", "containers": "unavailable",
		}},
		"a build that lacks an image": {append(l.options(), "--image", l.site.Host+"/absent:v1"), map[string]string{
			"all": "unavailable", "plan": "unavailable", "embed": "unavailable", "inspect": "working", "push": named, "kernel": "unavailable",
		}},
		"a build with a bundle": {append(l.options(), "--embed-from-bundle", "--releases-url", "http://"+l.site.Host+"/v2/"), map[string]string{
			"all": "unavailable", "inspect": "working",
		}},
		"offline": {append(l.options(), "--offline"), map[string]string{
			"all": "what they fetch, because of --offline", "linuxkit": "what they fetch, because of --offline", "kernel": "unavailable",
		}},
		"no build": {[]string{"--offline", "--hook-dir", l.site.Dir, "--config", "none"}, map[string]string{
			"embed": "the images of your build: name a flavor, or write hookbuild.yaml", "verify": "working", "flavors": "working",
		}},
		"no checkout": {[]string{"--config", file, "--hook-dir", ""}, map[string]string{
			"all": "unavailable", "flavors": "unavailable", "run": "unavailable", "kernel-config": "unavailable", "images": "the bundle manifest",
			"embed": "what they need, because the build is not known", "verify": "working", "push": named,
		}},
	} {
		checks, got := doctorCommands(t, l.site, test.args...)
		for command, want := range test.want {
			if where := got.where(command); where != want {
				t.Errorf("%s: %s is %q, want %q", name, command, where, want)
			}
		}
		for _, c := range commands(&app{}) {
			if got.where(c.Name) == "not mentioned" {
				t.Errorf("%s: %s is not mentioned", name, c.Name)
			}
		}
		checkout := checks["Hook checkout"]
		if name == "no checkout" && (checkout.Status != doctor.Fail || !strings.Contains(checkout.Found, "fetching the Hook checkout") || !strings.Contains(checkout.Remedy, "hook.archive")) {
			t.Errorf("%+v", checkout)
		}
		if disk := checks["disk of --out"]; name == "a build" && !strings.Contains(disk.Found, " needed for ") {
			t.Errorf("%+v", disk)
		}
	}
	got := runAt(t.Context(), l.site, append([]string{"--cache-dir", t.TempDir(), "doctor", "--image", l.site.Host + "/absent:v1"}, l.options()...)...)
	if got.code != 1 || !strings.Contains(got.stdout, "These commands work in spite of it: ") || !strings.Contains(got.stdout, "\nNot checked:\n") || strings.Contains(got.stdout, "push, pull, run") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestDoctorOfABuild checks what a build needs: the images that a registry has, one
// that it lacks, and the servers of a kernel's source.
func TestDoctorOfABuild(t *testing.T) {
	l := newLocker(t)
	c, all := l.check(l.options()...)
	if c.Status != doctor.OK || !strings.Contains(c.Found, "that this build asks for") {
		t.Errorf("%+v", c)
	}
	for _, other := range all {
		if strings.HasPrefix(other.Name, "registry ") && other.Name != c.Name || other.Name == "kernel.org" {
			t.Errorf("the build does not need %+v", other)
		}
	}
	c, _ = l.check(append(l.options(), "--image", l.site.Host+"/absent:v1")...)
	if c.Status != doctor.Fail || !strings.Contains(c.Found, "absent:v1") || !strings.Contains(strings.Join(c.Commands, " "), "all") {
		t.Errorf("with an image that the registry lacks: %+v", c)
	}
	c, _ = l.check(append(l.options(), "HOOK_KERNEL_OCI_BASE="+l.site.Host+"/none")...)
	if c.Status != doctor.Fail || !strings.Contains(c.Found, "/none") {
		t.Errorf("with a repository that the registry lacks: %+v", c)
	}
	_, all = l.check(append(l.options(), "--kernel", "build", "--source", "http://"+l.site.Host+"/linux.tar")...)
	found := false
	for _, other := range all {
		found = found || strings.HasSuffix(other.Name, "/linux.tar")
	}
	if !found {
		t.Errorf("the source of the kernel is not checked: %+v", all)
	}
}

// TestDoctorWithoutDocker fails only for a build that compiles.
func TestDoctorWithoutDocker(t *testing.T) {
	l := newLocker(t)
	for _, test := range []struct {
		code int
		args []string
		says string
	}{
		{0, nil, "warn  Docker: "},
		{0, l.options(), "warn  Docker: "},
		{1, append(l.options(), "--kernel", "build"), "fail  Docker: "},
	} {
		got := runAt(t.Context(), l.site, append([]string{"--cache-dir", t.TempDir(), "doctor", "--offline"}, test.args...)...)
		if got.code != test.code || !strings.Contains(got.stdout, test.says) {
			t.Errorf("%v: exit code %d, want %d with %q\n%s%s", test.args, got.code, test.code, test.says, got.stdout, got.stderr)
		}
	}
}

// TestDoctorOfContainersToBuild has containers of the checkout that no registry has: they
// are built, which needs Docker, unless that is forbidden.
func TestDoctorOfContainersToBuild(t *testing.T) {
	l := newLocker(t)
	absent := append(l.options(), "HOOK_LK_CONTAINERS_OCI_BASE="+l.site.Host+"/absent/")
	checks, commands := doctorCommands(t, l.site, absent...)
	docker := checks["Docker"]
	if docker.Status != doctor.Fail || !strings.Contains(docker.Breaks, "because no registry has "+l.site.Host+"/absent/") || commands.where("all") != "unavailable" || commands.where("plan") != "working" {
		t.Errorf("%+v\n%+v", docker, commands)
	}
	checks, _ = doctorCommands(t, l.site, append(absent, "--no-build-containers")...)
	if r := checks["registry "+l.site.Host]; r.Status != doctor.Fail || checks["Docker"].Status != doctor.Warn {
		t.Errorf("%+v\n%+v", r, checks["Docker"])
	}
}

// TestDoctorReadsTheFile checks what hookbuild.yaml says, through its mirror.
func TestDoctorReadsTheFile(t *testing.T) {
	l := newLocker(t)
	file := filepath.Join(t.TempDir(), "hookbuild.yaml")
	site.WriteFile(t, file, strings.NewReplacer("HOOK", l.site.Dir, "HOST", l.site.Host).Replace(`hook: {dir: HOOK}
flavors: [hook-latest-lts-amd64]
kernel: {from: latest, repository: HOST/hook-kernel}
embed:
  images:
    - registry.example/actions/cexec:v1
network:
  mirrors:
    - {from: registry.example, to: HOST}
`))
	if c, _ := l.check("--config", file); c.Status != doctor.OK || !strings.Contains(c.Found, "that this build asks for") {
		t.Errorf("%+v", c)
	}
}
