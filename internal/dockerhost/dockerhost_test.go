package dockerhost

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"hookbuild/internal/fault"
)

// configDir returns a Docker configuration directory with the contexts "site"
// and "tls"; the former is current.
func configDir(t *testing.T, tlsHost string, ca []byte) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), `{"currentContext":"site"}`)
	for name, host := range map[string]string{"site": "tcp://10.0.0.1:2375", "tls": tlsHost, "remote": "ssh://me@build.site", "empty": ""} {
		id := digest.FromString(name).Encoded()
		meta, err := json.Marshal(map[string]any{"Name": name, "Endpoints": map[string]any{"docker": map[string]any{"Host": host}}})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "contexts", "meta", id, "meta.json"), string(meta))
		if name == "tls" {
			write(t, filepath.Join(dir, "contexts", "tls", id, "docker", "ca.pem"), string(ca))
		}
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestChoose(t *testing.T) {
	dir := configDir(t, "", nil)
	for name, tc := range map[string]struct {
		vars map[string]string
		dir  string
		want string
	}{
		"nothing said":               {nil, t.TempDir(), ""},
		"the current context":        {nil, dir, "tcp://10.0.0.1:2375"},
		"DOCKER_CONTEXT":             {map[string]string{"DOCKER_CONTEXT": "remote"}, dir, "ssh://me@build.site"},
		"the default context":        {map[string]string{"DOCKER_CONTEXT": "default"}, dir, ""},
		"DOCKER_HOST":                {map[string]string{"DOCKER_HOST": "tcp://1.2.3.4:5"}, dir, "tcp://1.2.3.4:5"},
		"DOCKER_HOST without tcp://": {map[string]string{"DOCKER_HOST": "1.2.3.4:5"}, dir, "tcp://1.2.3.4:5"},
		"a socket needs no TLS":      {map[string]string{"DOCKER_HOST": "unix:///x", "DOCKER_TLS_VERIFY": "1"}, dir, "unix:///x"},
		"DOCKER_HOST over a context": {map[string]string{"DOCKER_HOST": "tcp://1.2.3.4:5", "DOCKER_CONTEXT": "remote"}, dir, "tcp://1.2.3.4:5"},
	} {
		got, err := choose(environment(tc.vars), tc.dir)
		if err != nil || got.host != tc.want || got.tls != nil {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if _, err := got.client(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChooseWhatIsNotThere(t *testing.T) {
	dir := configDir(t, "", nil)
	broken := t.TempDir()
	write(t, filepath.Join(broken, "config.json"), "{")
	for name, tc := range map[string]struct {
		context, dir, want string
	}{
		"no such context":   {"none", dir, "docker context ls"},
		"context, no host":  {"empty", dir, "does not name a Docker Engine"},
		"broken config":     {"", broken, "config.json"},
		"path in a context": {"../../etc", dir, "docker context ls"},
	} {
		_, err := choose(environment(map[string]string{"DOCKER_CONTEXT": tc.context}), tc.dir)
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A context's CA, and no other, vouches for its engine.
func TestEngineWithTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("API-Version", "1.41")
	}))
	t.Cleanup(server.Close)
	host := strings.Replace(server.URL, "https", "tcp", 1)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	certs := t.TempDir()
	write(t, filepath.Join(certs, "ca.pem"), string(ca))
	for name, vars := range map[string]map[string]string{
		"context":      {"DOCKER_CONTEXT": "tls"},
		"environment":  {"DOCKER_HOST": host, "DOCKER_CERT_PATH": certs, "DOCKER_TLS_VERIFY": "1"},
		"in ~/.docker": {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1"},
	} {
		dir := configDir(t, host, ca)
		if name == "in ~/.docker" {
			write(t, filepath.Join(dir, "ca.pem"), string(ca))
		}
		e, err := choose(environment(vars), dir)
		if err != nil || e.tls == nil || e.tls.InsecureSkipVerify {
			t.Fatalf("%s: got %+v, %v", name, e, err)
		}
		cli, err := e.client()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cli.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoCertificates: an engine that is to be verified is not reached without
// certificates.
func TestNoCertificates(t *testing.T) {
	e, err := choose(environment(map[string]string{"DOCKER_HOST": "tcp://1.2.3.4:5", "DOCKER_TLS_VERIFY": "1"}), t.TempDir())
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "DOCKER_CERT_PATH") {
		t.Errorf("got %+v, %v", e, err)
	}
}

// TestNamed finds an engine by its address or context, whatever the environment
// names.
func TestNamed(t *testing.T) {
	dir := configDir(t, "", nil)
	vars := environment(map[string]string{"DOCKER_HOST": "tcp://1.2.3.4:5"})
	for name, want := range map[string]string{"ssh://me@arm": "ssh://me@arm", "remote": "ssh://me@build.site", "default": ""} {
		if got, err := named(vars, dir, name); err != nil || got.host != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if _, err := named(vars, dir, "none"); err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "docker context ls") {
		t.Errorf("no such context: %v", err)
	}
	if _, err := ConnectTo(t.Context(), "unix://"+filepath.Join(t.TempDir(), "none.sock")); err == nil || fault.KindOf(err) != fault.Outside {
		t.Errorf("no such engine: %v", err)
	}
}

func TestConnectSaysWhatToDo(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	_, err := Connect(t.Context())
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "none.sock") || !strings.Contains(err.Error(), "DOCKER_HOST") {
		t.Errorf("got %v", err)
	}
}

// The remedy fits what is missing: the engine, its start, or the right to use it.
func TestRemedy(t *testing.T) {
	dir := t.TempDir()
	refused := filepath.Join(dir, "refused.sock")
	if err := os.WriteFile(refused, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"unix://" + filepath.Join(dir, "none.sock"): "package docker.io",
		"unix://" + refused:                         "start it",
		"tcp://127.0.0.1:1":                         "start it",
	} {
		_, remedy, err := endpoint{host: host}.connect(t.Context())
		if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(remedy, want) {
			t.Errorf("%s: %v; %s", host, err, remedy)
		}
	}
	if remedy := (endpoint{host: "unix://" + refused}).remedy(fmt.Errorf("dialling: %w", fs.ErrPermission)); !strings.Contains(remedy, "usermod -aG docker") {
		t.Errorf("without the right to use it: %s", remedy)
	}
	denied := fmt.Errorf("permission denied at unix://%s: %w", refused, fs.ErrPermission)
	if err := (endpoint{host: "unix://" + refused}).shorten(denied); err.Error() != "permission denied" {
		t.Errorf("the socket is named again: %v", err)
	}
	if err := (endpoint{host: "ssh://host"}).shorten(denied); !errors.Is(err, denied) {
		t.Errorf("over ssh: %v", err)
	}
}

// A connection that fails for another reason than that nothing answers is explained.
func TestReasonIsKept(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	for host, want := range map[string]string{
		strings.Replace(server.URL, "https", "tcp", 1): "x509",
		"tcp://none.invalid:2376":                      "lookup none.invalid",
	} {
		_, remedy, err := endpoint{host: host, tls: &tls.Config{}}.connect(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "no Docker daemon answers") || remedy != checkEndpoint {
			t.Errorf("%s: %v; %s", host, err, remedy)
		}
	}
	_, _, err := endpoint{host: "tcp://127.0.0.1:1"}.connect(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "at tcp://127.0.0.1:1: no Docker daemon answers there") {
		t.Errorf("nothing listens: %v", err)
	}
}

// An engine that accepts connections but never answers does not block Connect.
func TestSilentEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	cli, err := endpoint{host: "unix://" + socket}.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), cli, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not answered for 100ms") {
		t.Errorf("got %v", err)
	}
}

// Certificates that cannot be looked at are not taken for absent: the engine would be
// reached without them.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if config, err := readTLS(file, true); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v, %v", config, err)
	}
}
