package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// TestSecretsOfURLsAreNotShown checks that the password and the query of a URL are
// never shown.
func TestSecretsOfURLsAreNotShown(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	baseInitramfs(t, in, initramfs.Zstd)
	site.WriteFile(t, filepath.Join(s.Dir, "kernel/keys.asc"), readFile(t, "../../kernel/source/testdata/keys.asc"))
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "hunter2" || r.URL.RawQuery != "sig=hunter3" && !strings.HasSuffix(r.URL.Path, "/checksums.txt") {
			t.Errorf("%s was asked for with the password %q and the query %q", r.URL.Path, password, r.URL.RawQuery)
		}
		asked++
		if r.URL.Path == "/in" {
			http.ServeFile(w, r, in)
			return
		}
		http.Error(w, "gone: "+r.URL.String(), http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	base := "http://user:hunter2@" + strings.TrimPrefix(server.URL, "http://")
	url := func(path string) string { return base + path + "?sig=hunter3" }
	image := []string{"--image", s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec"}
	for name, test := range map[string]struct {
		code int
		args []string
	}{
		"an initramfs":      {0, append([]string{"embed", "--initramfs", url("/in"), "-o", filepath.Join(dir, "out")}, image...)},
		"no such initramfs": {4, append([]string{"embed", "--initramfs", url("/gone"), "-o", filepath.Join(dir, "out")}, image...)},
		"a bundle":          {4, []string{"images", "--bundle", url("/bundle.yaml")}},
		"a kernel":          {4, []string{"inspect", "deb:" + url("/linux-image.deb")}},
		"a kernel's source": {4, []string{"kernel", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--source", url("/linux.tar.xz")}},
		"a module's source": {4, []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--kernel", "build", "--module-source", url("/module-1.tar.gz")}},
		"releases":          {4, []string{"images", "--releases-url", url("/releases.yaml")}},
		"served files":      {4, []string{"serve", "--check", base + "/hook"}},
		"a kernel's mirror": {4, []string{"kernel", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--lock", "--kernel-version", "1", "--source-mirror", url("/linux")}},
	} {
		for _, show := range [][]string{{"--progress", "json", "--debug"}, {"--progress", "plain", "--debug"}, {"--progress", "github"}} {
			before := asked
			got := runAt(t.Context(), s, append(append(test.args, "--cache-dir", t.TempDir()), show...)...)
			if got.code != test.code || asked == before {
				t.Errorf("%s: exit code %d after %d requests\n%s", name, got.code, asked-before, got.stderr)
			}
			for _, secret := range []string{"hunter2", "hunter3"} {
				if strings.Contains(got.stdout+got.stderr, secret) {
					t.Errorf("%s, %s: %s is shown:\n%s%s", name, show, secret, got.stdout, got.stderr)
				}
			}
		}
	}
}

// TestFaultyURLIsShownWithoutSecrets checks that the message about a URL that no
// command takes does not repeat its secrets.
func TestFaultyURLIsShownWithoutSecrets(t *testing.T) {
	s := site.New(t, nil)
	const url = "http://user:hunter2@boot.example/auto.ipxe?sig=hunter3"
	got := runAt(t.Context(), s, "dhcp", "kea", "--hardware", "testdata/docs/hardware.csv", "--tinkerbell-ip", "192.0.2.9", "--script-url", url)
	if got.code != 2 || !strings.Contains(got.stderr, `"http://boot.example/auto.ipxe"`) || strings.Contains(got.stdout+got.stderr, "hunter") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestLoginInMirror checks that a login or a signature in --mirror, which takes the name
// of a registry, is refused and not shown.
func TestLoginInMirror(t *testing.T) {
	s := site.New(t, nil)
	for _, mirror := range []string{
		"public.ecr.aws=user:hunter2@" + s.Host, "public.ecr.aws=https://user:hunter2@" + s.Host + "/ecr", "https://user:hunter2@" + s.Host,
		"public.ecr.aws=" + s.Host + "/ecr?sig=hunter2",
	} {
		for _, show := range [][]string{{"--progress", "json", "--debug"}, {"--progress", "plain", "--debug"}, {"--progress", "github"}} {
			got := runAt(t.Context(), s, append([]string{"embed", "--image", s.Host + "/a:1", "--mirror", mirror, "--cache-dir", t.TempDir(), "--initramfs", "secrets_test.go", "-o", "none"}, show...)...)
			if got.code != 2 || !strings.Contains(got.stderr, "log in with docker login") || strings.Contains(got.stdout+got.stderr, "hunter") {
				t.Errorf("%s: exit code %d\n%s%s", mirror, got.code, got.stdout, got.stderr)
			}
		}
	}
}

// TestManifestHoldsNoSecretsOfURLs checks that they are in nothing that is published,
// and not in the lock.
func TestManifestHoldsNoSecretsOfURLs(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	out, cache := t.TempDir(), sharedCache(t)
	deb := kerneltest.CloudKernel(t, "amd64")
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		http.ServeFile(w, r, deb)
	}))
	t.Cleanup(server.Close)
	args := allArgs(t, s, cache, out)
	args[slices.Index(args, "--kernel")+1] = "deb:http://user:hunter2@" + strings.TrimPrefix(server.URL, "http://") + "/linux-image.deb?sig=hunter3"
	got := runAt(t.Context(), s, append(args, "--debug")...)
	if got.code != 0 || served == 0 {
		t.Fatalf("exit code %d after %d requests\n%s", got.code, served, got.stderr)
	}
	file := filepath.Join(t.TempDir(), "hookbuild.lock")
	locked := runAt(t.Context(), s, append([]string{"lock", "--debug", "--lock-file", file}, args[1:]...)...)
	if locked.code != 0 {
		t.Fatalf("exit code %d\n%s", locked.code, locked.stderr)
	}
	got.stdout, got.stderr = got.stdout+locked.stdout, got.stderr+locked.stderr
	published := dirNames(t, filepath.Join(out, "hook"))
	for _, name := range []string{artifact.ManifestFile, "provenance.json", "sbom.spdx.json"} {
		if !slices.Contains(published, name) {
			t.Errorf("there is no %s in %q", name, published)
		}
	}
	for _, name := range append(published, file) {
		if name != file {
			name = filepath.Join(out, "hook", name)
		}
		text := readFile(t, name)
		if (filepath.Base(name) == artifact.ManifestFile || name == file) && !strings.Contains(text, "linux-image.deb") {
			t.Errorf("%s does not name the kernel:\n%s", name, text)
		}
		if strings.Contains(text+got.stdout+got.stderr, "hunter") {
			t.Errorf("%s, or what was shown, has a secret:\n%s", name, got.stderr)
		}
	}
}

// TestPasswordsOfHardwareAreNotShown checks that a hardware.csv that is named in place
// of another file is not printed: it has the passwords of BMCs. What each command must
// say shows that it read the file.
func TestPasswordsOfHardwareAreNotShown(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	const row = "cp-1,192.0.3.11,root,hunter2,52:54:00:00:00:01,192.0.2.11\n"
	for name, content := range map[string]string{
		"with a header":        "hostname,bmc_ip,bmc_username,bmc_password,mac,ip_address\n" + row,
		"without":              row,
		"with semicolons":      strings.ReplaceAll(row, ",", ";"),
		"with a quoted value":  "cp-1,192.0.3.11,root,hunter2,\"a, b\"\n",
		"with few values":      "root,hunter2,52:54:00:00:00:01\n",
		"with few, semicolons": "root;hunter2;52:54:00:00:00:01\n",
	} {
		file := filepath.Join(t.TempDir(), "hardware.csv")
		site.WriteFile(t, file, content)
		for _, test := range []struct {
			says string
			args []string
		}{
			{"but must be a mapping", []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--overlay", file}},
			{"write its keys below it: ca", []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--site", file}},
			{"is neither CONFIG_NAME=value", []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--kernel", "build", "--fragment", file}},
			{"not a tar archive", []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--kernel", "build", "--module-source", file}},
			{"write its keys below it: hook", []string{"plan", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--config", file}},
			{"but must be a mapping", []string{"linuxkit", "--yaml", file}},
			{"but must be a mapping", []string{"lock", "--yaml", file}},
			{"not a lock", []string{"all", "--locked", "--lock-file", file}},
			{"not a list of images", []string{"images", "--images-file", file}},
			{"it is not an object with a kind", []string{"images", "--bundle", file}},
			{"not an initramfs", []string{"inspect", file}},
			{"is neither CONFIG_NAME=value", []string{"kernel-config", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--diff", file}},
			{"not an initramfs", []string{"embed", "--initramfs", file, "--image", s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec", "-o", filepath.Join(t.TempDir(), "out")}},
			{"it has no option of dnsmasq", []string{"dhcp", "check", "--server", "dnsmasq", "--hardware", "testdata/docs/hardware.csv", "--tinkerbell-ip", "192.0.2.9", file}},
		} {
			got := runAt(t.Context(), s, test.args...)
			if got.code == 0 || strings.Contains(got.stdout+got.stderr, "hunter2") || !strings.Contains(got.stdout+got.stderr, test.says) {
				t.Errorf("%s, %v: exit code %d\n%s%s", name, test.args, got.code, got.stdout, got.stderr)
			}
		}
	}
}
