package main

import (
	"encoding/json"
	"path/filepath"
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
