package lock

import "testing"

func TestShortName(t *testing.T) {
	for ref, want := range map[string]string{
		"public.ecr.aws/eks-anywhere/tinkerbell/actions/cexec:v1": "cexec",
		"127.0.0.1:5000/tools@sha256:" + "00":                     "tools",
		"docker-archive:../tools.tar":                             "tools",
		"docker-archive:tools.tar":                                "tools",
		"oci:layouts/agent":                                       "agent",
	} {
		if got := (Image{Reference: ref}).ShortName(); got != want {
			t.Errorf("%q: got %q, want %q", ref, got, want)
		}
	}
}
