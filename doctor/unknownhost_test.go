package doctor

import (
	"context"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"hookbuild/internal/fault"
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
	c := docker(t.Context(), Options{Docker: func(context.Context) (*client.Client, error) {
		return nil, fault.Outsidef("reaching the Docker Engine: Cannot connect to it. Is the docker daemon running?; start it, or choose another with DOCKER_HOST")
	}})
	if strings.Contains(c.Found, "start it") || strings.Contains(c.Found, "running?") || !strings.Contains(c.Remedy, "start Docker") {
		t.Errorf("the check is %+v", c)
	}
}
