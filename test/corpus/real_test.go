package corpus_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hookbuild/test/corpus"
	"hookbuild/test/corpus/expect"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// TestRealPrograms makes an image of Debian's packages, for this machine, and
// runs it: programs that need their libraries and loader must find them.
func TestRealPrograms(t *testing.T) {
	testneed.Tool(t, "apt-get")
	docker := testneed.Tool(t, "docker")
	testneed.Docker(t)
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	l.Log = t.Logf
	r, err := corpus.Start(t.Context(), filepath.Join(l.Dir(), "corpus"), corpus.Options{
		Arches: []string{runtime.GOARCH}, Packages: l.Packages, Checker: corpus.BuildChecker(t.TempDir()), GzipOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, n := range []string{"oci2disk", corpus.Worker} {
		image := r.Reference(n, corpus.Actions)
		out, err := exec.CommandContext(t.Context(), docker, "run", "--rm", "--network", "none", "--entrypoint", "/corpus/check", image, "-times", "seconds").Output()
		if err != nil || !strings.Contains(string(out), expect.Well(n, runtime.GOARCH)) {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		if out, err := exec.CommandContext(t.Context(), docker, "rmi", image).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
