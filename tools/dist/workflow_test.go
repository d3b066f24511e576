package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hookbuild/test/testneed"
)

type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Timeout int `yaml:"timeout-minutes"`
		Steps   []struct{ Name, Run string }
	}
}

func readWorkflow(t *testing.T, name string) (workflow, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../.github/workflows", name))
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w, string(text)
}

// TestWorkflowsTrustLittle checks that actions are pinned by commit, that jobs
// start with read access only and have a time limit, and that GitHub pastes no
// text into a script.
func TestWorkflowsTrustLittle(t *testing.T) {
	pinned := regexp.MustCompile(`uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n`)
	for _, name := range []string{"ci.yml", "release.yml"} {
		w, text := readWorkflow(t, name)
		if uses := strings.Count(text, "uses: "); uses == 0 || uses != len(pinned.FindAllString(text, -1)) {
			t.Errorf("%s: of %d actions, %d are pinned", name, uses, len(pinned.FindAllString(text, -1)))
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v", name, w.Permissions)
		}
		for job, j := range w.Jobs {
			if j.Timeout == 0 {
				t.Errorf("%s: the job %q has no timeout", name, job)
			}
			for _, s := range j.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: GitHub pastes text into %q", name, s.Name)
				}
			}
		}
	}
}

// runner runs the scripts of a job's steps in a directory, with stand-ins for
// programs that would publish something.
type runner struct {
	workflow workflow
	dir      string
}

func newRunner(t *testing.T, name string) *runner {
	w, _ := readWorkflow(t, name)
	r := &runner{w, t.TempDir()}
	r.write(t, "temp/.keep", "", 0o644)
	return r
}

func (r *runner) write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	full := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

// standIn puts a program into PATH that records its arguments and runs script.
func (r *runner) standIn(t *testing.T, name, script string) {
	t.Helper()
	r.write(t, "bin/"+name, "#!/bin/sh\necho \""+name+" $*\" >> "+r.dir+"/called\n"+script+"\n", 0o755)
}

func (r *runner) called(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "called"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// run runs the step's script as GitHub does, with bash -eo pipefail.
func (r *runner) run(t *testing.T, dir, job, name string, env ...string) (string, error) {
	t.Helper()
	for _, s := range r.workflow.Jobs[job].Steps {
		if s.Name != name {
			continue
		}
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = dir
		cmd.Env = append([]string{
			"PATH=" + r.dir + "/bin:" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GOFLAGS=" + os.Getenv("GOFLAGS"),
			"RUNNER_TEMP=" + r.dir + "/temp", "GITHUB_OUTPUT=" + r.dir + "/output", "GITHUB_WORKSPACE=" + r.dir, "TAG=v1.2.3",
		}, env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Fatalf("the job %q has no step %q", job, name)
	return "", nil
}

func (r *runner) mustRun(t *testing.T, dir, job, name string, env ...string) {
	t.Helper()
	if out, err := r.run(t, dir, job, name, env...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func TestReleaseArchives(t *testing.T) {
	const step = "Make the archives"
	r := newRunner(t, "release.yml")
	r.standIn(t, "make", "exit 0")
	const archive = "hookbuild_1.2.3_linux_amd64.tar.gz"
	r.write(t, "dist/checksums.txt", fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte("x")), archive), 0o644)
	if out, err := r.run(t, r.dir, "release", step); err == nil {
		t.Errorf("a release of another version passes: %s", out)
	}
	r.write(t, "dist/"+archive, "y", 0o644)
	if out, err := r.run(t, r.dir, "release", step); err == nil {
		t.Errorf("a damaged archive passes: %s", out)
	}
	r.write(t, "dist/"+archive, "x", 0o644)
	r.mustRun(t, r.dir, "release", step)
	if got := r.called(t); !strings.HasPrefix(got, "make dist\n") {
		t.Errorf("called\n%s", got)
	}
}

func TestReleaseNotes(t *testing.T) {
	const step = "Write the release's notes"
	r := newRunner(t, "release.yml")
	r.write(t, "CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- next\n\n## [1.2.3] - 2026-12-01\n\n- this\n\n## 1.2.2\n\n- last\n", 0o644)
	r.mustRun(t, r.dir, "release", step)
	notes, err := os.ReadFile(filepath.Join(r.dir, "temp/notes.md"))
	if err != nil || strings.TrimSpace(string(notes)) != "- this" {
		t.Errorf("%v, notes %q", err, notes)
	}
	if out, err := r.run(t, r.dir, "release", step, "TAG=v9.9.9"); err == nil {
		t.Errorf("a tag that CHANGELOG.md does not have passes: %s", out)
	}
}

func TestReleasePublishes(t *testing.T) {
	r := newRunner(t, "release.yml")
	r.standIn(t, "docker", "cat > "+r.dir+"/password")
	r.standIn(t, "go", "echo ghcr.io/someone/hookbuild@sha256:0123")
	r.standIn(t, "gh", "")
	r.mustRun(t, r.dir, "release", "Push the container image", "IMAGE=ghcr.io/SomeOne/hookbuild", "ACTOR=someone", "TOKEN=secret")
	r.write(t, "dist/a.tar.gz", "", 0o644)
	r.mustRun(t, r.dir, "release", "Create the release", "GH_TOKEN=secret")
	want := "docker login ghcr.io --username someone --password-stdin\n" +
		"go run ./tools/dist -image ghcr.io/someone/hookbuild:v1.2.3\n" +
		"gh release create v1.2.3 --verify-tag --title hookbuild v1.2.3 --notes-file " + r.dir + "/temp/notes.md dist/a.tar.gz\n"
	if got := r.called(t); got != want {
		t.Errorf("called\n%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]string{"output": "name=ghcr.io/someone/hookbuild\ndigest=sha256:0123\n", "password": "secret"} {
		if got, err := os.ReadFile(filepath.Join(r.dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestCI runs what is not .ci/run itself: that would run this test.
func TestCI(t *testing.T) {
	r := newRunner(t, "ci.yml")
	r.standIn(t, "apt-get", "")
	r.standIn(t, "git", "")
	r.mustRun(t, r.dir, "ci", "Install what fetching the sources needs")
	r.mustRun(t, r.dir, "ci", "Trust the sources' owner")
	if got := r.called(t); !strings.Contains(got, "apt-get install -y -qq --no-install-recommends ca-certificates git make") || !strings.Contains(got, "git config --global --add safe.directory "+r.dir+"\n") {
		t.Errorf("called\n%s", got)
	}
	r.write(t, ".ci/run", "#!/bin/sh\necho ran\n", 0o755)
	if out, err := r.run(t, r.dir, "ci", "Check and test"); err != nil || out != "ran\n" {
		t.Errorf("%q, %v", out, err)
	}
	if info, err := os.Stat("../../.ci/run"); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf(".ci/run cannot be run: %v", err)
	}
	build := newRunner(t, "ci.yml")
	if out, err := build.run(t, "../..", "macos", "Build and install"); err != nil || !strings.Contains(out, "\nplatform: ") {
		t.Errorf("%v\n%s", err, out)
	}
}
