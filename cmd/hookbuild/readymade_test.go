package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hookbuild/site/lock"
	"hookbuild/test/lab/site"
)

// armbian is the flavor of the tests of kernels that come ready-made.
const armbian = "armbian-uefi-x86-edge"

// withPoint runs a command at the site, with KERNEL_POINT_RELEASE in the environment.
func (l *locker) withPoint(code int, args ...string) outcome {
	l.t.Helper()
	env := map[string]string{"HOOK_LK_CONTAINERS_OCI_BASE": l.site.Base(), "KERNEL_POINT_RELEASE": "225", "ARMBIAN_BASE_ORAS_REF": l.site.Host + "/os", "HOOK_KERNEL_OCI_BASE": l.kernels()}
	var stdout, stderr bytes.Buffer
	args = append(args, "--cache-dir", l.cache, "--out", l.out, "--hook-dir", l.site.Dir, "--progress", "plain")
	got := run(l.t.Context(), args, environment{getenv: func(k string) string { return env[k] }, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
	if got != code {
		l.t.Fatalf("%v: exit code %d, want %d\n%s", args, got, code, stderr.String())
	}
	return outcome{got, stdout.String(), stderr.String()}
}

// TestPointReleaseOfArmbian checks that KERNEL_POINT_RELEASE, which has no effect on a
// kernel that comes ready-made, fails no build of one, and that this is said.
func TestPointReleaseOfArmbian(t *testing.T) {
	l := newLocker(t)
	site.WriteFile(t, l.site.Dir+"/kernel/Dockerfile", "FROM scratch\n")
	l.pushArmbian("6.8.9-Sab12-D1", "6.8.9-edge-x86")
	const (
		note    = "KERNEL_POINT_RELEASE=225 (in the environment) does not apply: the kernel of " + armbian + " comes ready-made from Armbian\n"
		warning = "KERNEL_POINT_RELEASE=225 has no effect on " + armbian + ": its kernel comes ready-made from Armbian; ARMBIAN_KERNEL_VERSION chooses another of Armbian's\n"
	)
	export := "--export=" + t.TempDir() + "/kernel"
	for _, command := range [][]string{{"plan"}, {"build"}, {"build", "--kernel", "latest"}, {"kernel", "--no-load", export}} {
		words := append(slices.Clone(command), armbian)
		got := l.withPoint(0, words...)
		if strings.Count(got.stderr, note) != 1 || strings.Contains(got.stderr, "warning: KERNEL") {
			t.Errorf("%v in the environment: said\n%s", command, got.stderr)
		}
		got = l.run(0, append(words, "KERNEL_POINT_RELEASE=225", "ARMBIAN_BASE_ORAS_REF="+l.site.Host+"/os", "HOOK_KERNEL_OCI_BASE="+l.kernels(), "--hook-dir", l.site.Dir, "--out", l.out)...)
		if !strings.Contains(got.stderr, "warning: "+warning) || strings.Contains(got.stderr, "does not apply") {
			t.Errorf("%v as an argument: said\n%s", command, got.stderr)
		}
	}
	if got := l.withPoint(0, "build", armbian, "--kernel", "image:"+l.kernels()+":6.6.7-12345678"); strings.Contains(got.stderr, "POINT_RELEASE") {
		t.Errorf("of another kernel it says\n%s", got.stderr)
	}
	says(t, l.withPoint(4, "plan", armbian, "USE_KERNEL_ID=hook-latest-lts-amd64").stderr, "finding the kernel 6.6.225")

	// Nor does it contradict a lock.
	l.withPoint(0, "lock", armbian, "--lock-file", l.lock)
	file, err := lock.Read(l.lock)
	if err != nil {
		t.Fatal(err)
	}
	if locked := file.Find(armbian, ""); len(locked) != 1 || locked[0].Variables["KERNEL_POINT_RELEASE"] != "" {
		t.Errorf("the lock has %+v", locked)
	}
	l.withPoint(0, "linuxkit", armbian, "--locked", "--lock-file", l.lock)
}

// TestOptionsOfArmbian checks that an option which would change how a kernel is compiled
// is named as it was typed, with a remedy that leads to a build.
func TestOptionsOfArmbian(t *testing.T) {
	l := newLocker(t)
	l.pushArmbian("6.8.9-Sab12-D1", "6.8.9-edge-x86")
	remedy := "but that of " + armbian + " comes ready-made from Armbian; leave out the option, or name a flavor whose kernel is compiled (`hookbuild flavors` lists them)\n"
	for _, option := range [][]string{{"--kernel-version", "230"}, {"--set", "CONFIG_ICE=m"}, {"--source", l.site.Dir}, {"--accept-lost"}} {
		for _, command := range [][]string{{"plan"}, {"build"}, {"all", "--kernel", "latest"}, {"kernel"}} {
			got := l.withPoint(2, slices.Concat(command, []string{armbian}, option)...)
			says(t, got.stderr, "hookbuild: "+option[0]+" changes how a kernel is built, "+remedy)
		}
	}
	says(t, l.withPoint(2, "build", armbian, "--kernel", "build", "--set", "CONFIG_ICE=m").stderr, "use --kernel latest\n")
	says(t, l.withPoint(2, "build", armbian, "--kernel", "dir:"+l.site.Dir, "--set", "CONFIG_ICE=m").stderr, "--set changes how a kernel is built, but the kernel is dir:"+l.site.Dir+"; leave out the option\n")
	says(t, l.withPoint(2, "build", "hook-latest-lts-amd64", "--kernel-version", "230").stderr, "add --kernel build\n")

	// The options of hookbuild.yaml are for all of its flavors.
	config := t.TempDir() + "/hookbuild.yaml"
	site.WriteFile(t, config, "kernel:\n  options:\n    - set: CONFIG_ICE=m\n")
	got := l.withPoint(0, "kernel", armbian, "--no-load", "--export", t.TempDir()+"/kernel", "--config", config)
	says(t, got.stderr, "kernel.options in "+config+" does not apply: the kernel of "+armbian+" comes ready-made from Armbian\n")
	l.withPoint(0, "kernel", armbian, "--no-load", "--export", t.TempDir()+"/kernel", "--source-mirror", "https://mirror.example/")
}
