package doctor

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hookbuild/internal/dockerhost"
)

// TestUnknownHost checks that plain HTTP is no remedy for a name that does not exist.
func TestUnknownHost(t *testing.T) {
	o := options(t, "registry.invalid", "http://127.0.0.1:1/")
	o.Insecure = nil
	c := find(t, Run(t.Context(), o), "registry registry.invalid")
	if c.Status != Fail || strings.Contains(c.Remedy, "--insecure-registry") || !strings.Contains(c.Remedy, "check the name") {
		t.Errorf("the check is %+v", c)
	}
}

// TestDockerRemedyIsSaidOnce checks that the finding about Docker has no remedy of its
// own.
func TestDockerRemedyIsSaidOnce(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	c, _ := docker(t.Context(), Options{Docker: dockerhost.Connect})
	if c.Status != Warn || strings.Contains(c.Found, "install Docker") || strings.Contains(c.Found, "running?") || strings.Count(c.Remedy, "DOCKER_HOST") != 1 {
		t.Errorf("the check is %+v", c)
	}
	if c, _ := docker(t.Context(), Options{Docker: dockerhost.Connect, Compiles: true}); c.Status != Fail || !strings.Contains(c.Breaks, "all, linuxkit and lock") {
		t.Errorf("for a build that compiles, the check is %+v", c)
	}
}

// TestRemedyOfCertificates has a server that this machine does not trust, and one whose
// certificate has expired, which a wrong clock looks like.
func TestRemedyOfCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	if c := find(t, Run(t.Context(), options(t, "127.0.0.1:1", server.URL)), "releases"); c.Status != Fail || !strings.Contains(c.Remedy, "--ca-file") {
		t.Errorf("the check is %+v", c)
	}
	expired := fmt.Errorf("tls: %w", x509.CertificateInvalidError{Cert: server.Certificate(), Reason: x509.Expired})
	if got := remedy(expired, "check the network"); !strings.Contains(got, "date -u") {
		t.Errorf("the remedy is %q", got)
	}
}
