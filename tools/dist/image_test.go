package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"hookbuild/test/testneed"
)

// TestImage pushes the image twice, which must give one digest, and runs it
// with the Docker Engine.
func TestImage(t *testing.T) {
	if runtime.GOOS != "linux" {
		testneed.Missing(t, "linux", "the image is for Linux")
	}
	if _, err := os.Stat(certificates); err != nil {
		testneed.Missing(t, "ca-certificates", err.Error())
	}
	t.Chdir("../..")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/test/hookbuild:v1"
	var pushed []string
	for range 2 {
		lines, err := run(t.Context(), "", ref, []string{"linux/" + runtime.GOARCH, "darwin/arm64"}, "1700000000")
		if err != nil {
			t.Fatal(err)
		}
		pushed = append(pushed, lines...)
	}
	if len(pushed) != 2 || pushed[0] != pushed[1] || !strings.Contains(pushed[0], "/test/hookbuild@sha256:") {
		t.Fatalf("pushed %q", pushed)
	}
	at, err := name.ParseReference(pushed[0])
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(at, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	image, err := remote.Image(at, remote.WithContext(t.Context()), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("docker", func(t *testing.T) { runImage(t, image) })
}

func runImage(t *testing.T, image v1.Image) {
	testneed.Docker(t)
	docker := testneed.Tool(t, "docker")
	tag, err := name.NewTag("hookbuild-test-dist:image")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(archive, tag, image); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), docker, "load", "-i", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Cleanup(func() {
		if said, err := exec.Command(docker, "rmi", tag.Name()).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
	said, err := exec.CommandContext(t.Context(), docker, "run", "--rm", "--network", "none", tag.Name(), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "hookbuild ") {
		t.Errorf("%v\n%s", err, said)
	}
}
