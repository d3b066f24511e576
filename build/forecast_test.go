package build

import (
	"testing"

	"hookbuild/internal/oci"
	"hookbuild/kernel"
)

// TestKernelVersionOfATag takes a version only from the tags of repositories of kernels.
func TestKernelVersionOfATag(t *testing.T) {
	for source, want := range map[string]string{
		"ghcr.io/tinkerbell/hook/kernel/hook-kernel:6.6.7-12345678": "6.6.7",
		"linuxkit/kernel:6.12-1a2b@sha256:0":                        "6.12",
		"r.example:5000/site/own:6.6.7-12345678":                    "6.6.7", // where kernels are published
		"r.example/tools:1.2-alpine":                                "",
		"r.example/hook-kernel:latest":                              "",
	} {
		r := Request{Kernel: "image:" + source}
		r.KernelOptions.Plan.Repository = "r.example:5000/site/own"
		f := forecaster{Resolved: &Resolved{Request: r, Kernel: &kernel.Pinned{Image: &oci.Image{Source: source}}}}
		if got, _ := f.kernelVersion(); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
