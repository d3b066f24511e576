package containers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/test/testneed"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shellHash uses the shell's own sha256sum.
func shellHash(t *testing.T, dir, container string) string {
	t.Helper()
	testneed.Tool(t, "sha256sum")
	cmd := exec.Command("sh", "-c", `find "images/$0" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-8`, container)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestListNamesByContent(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "images/hook-docker/Dockerfile", "FROM scratch\n")
	write(t, dir, "images/hook-docker/sub dir/a\\b", "x")
	write(t, dir, "images/hook-docker/sub-dir", "y")
	write(t, dir, "images/hook-docker/new\nline", "z")
	write(t, dir, "images/hook-linuxkit-stale/Dockerfile", "FROM old\n")
	write(t, dir, "images/notes/README", "no container")
	write(t, dir, proxyList, "\tlist+=([\"init\"]=\"linuxkit/init:abc\")\n\tlist+=([\"ca_certificates\"]=\"linuxkit/ca-certificates:def\")\n# list+=([\"old\"]=\"x/y:z\")\n")
	if err := os.Symlink("Dockerfile", filepath.Join(dir, "images/hook-docker/link")); err != nil {
		t.Fatal(err)
	}
	got, err := List(t.Context(), os.DirFS(dir), "reg.example/hook/", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	docker := shellHash(t, dir, "hook-docker")
	for name, wraps := range map[string]string{"init": "linuxkit/init:abc", "ca_certificates": "linuxkit/ca-certificates:def"} {
		write(t, dir, "images/hook-linuxkit-"+name+"/Dockerfile", "FROM --platform=${TARGETARCH} "+wraps+"\n")
	}
	want := []Container{
		{Name: "hook-docker", Variable: "HOOK_CONTAINER_DOCKER_IMAGE", Reference: "reg.example/hook/hook-docker:" + docker + "-arm64"},
		{Name: "hook-linuxkit-ca_certificates", Variable: "HOOK_CONTAINER_LINUXKIT_CA_CERTIFICATES_IMAGE", Wraps: "linuxkit/ca-certificates:def",
			Reference: "reg.example/hook/hook-linuxkit-ca_certificates:" + shellHash(t, dir, "hook-linuxkit-ca_certificates") + "-arm64"},
		{Name: "hook-linuxkit-init", Variable: "HOOK_CONTAINER_LINUXKIT_INIT_IMAGE", Wraps: "linuxkit/init:abc",
			Reference: "reg.example/hook/hook-linuxkit-init:" + shellHash(t, dir, "hook-linuxkit-init") + "-arm64"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListRefusesAnUnreadableProxyList(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "images/hook-docker/Dockerfile", "FROM scratch\n")
	write(t, dir, proxyList, "nothing of the kind\n")
	if _, err := List(t.Context(), os.DirFS(dir), "b/", "amd64"); err == nil || !strings.Contains(err.Error(), proxyList) {
		t.Errorf("got %v", err)
	}
}
