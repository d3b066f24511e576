package corpus

import (
	"fmt"
	"io"
	"strings"
)

// Layout is the way a bundle manifest names images; it changed between releases
// of EKS Anywhere.
type Layout string

// The layouts: actions below tinkerbell/hub with a worker (up to v0.22.6),
// below tinkerbell/actions with a worker (up to v0.24), and without (since
// v0.25; the worker is then in the repository tinkerbell/tink-agent).
const (
	Hub     Layout = "hub"
	Actions Layout = "actions"
	Agent   Layout = "agent"
)

// layouts returns all layouts.
func layouts() []Layout { return []Layout{Hub, Actions, Agent} }

// release returns an EKS Anywhere release whose bundle has the layout.
func (l Layout) release() string {
	switch l {
	case Hub:
		return "v0.22.3"
	case Actions:
		return "v0.24.2"
	}
	return "v0.26.1"
}

// key returns an action's name in a manifest.
func key(image string) string {
	switch image {
	case "image2disk":
		return "imageToDisk"
	case "oci2disk":
		return "ociToDisk"
	case "writefile":
		return "writeFile"
	}
	return image
}

// bundleNumber is part of every tag in a bundle.
const bundleNumber = 4242

// Reference returns the reference of an image in the registry, by tag.
func (r *Registry) Reference(image string, l Layout) string {
	repository := "tinkerbell/actions/" + image
	switch {
	case image == Worker && l == Agent:
		repository = "tinkerbell/tink-agent"
	case image == Worker:
		repository = "tinkerbell/tink/" + Worker
	case l == Hub:
		repository = "tinkerbell/hub/" + image
	}
	return fmt.Sprintf("%s/eks-anywhere/%s:v0.1.0-eks-a-%d", r.addr, repository, bundleNumber)
}

// Bundle writes the manifest of a bundle that names the images with their
// digests.
func (r *Registry) Bundle(w io.Writer, l Layout) error {
	var s strings.Builder
	fmt.Fprintf(&s, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nmetadata:\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: bundles-%d\n", bundleNumber)
	fmt.Fprintf(&s, "spec:\n  cliMaxVersion: %[1]s\n  cliMinVersion: %[1]s\n  number: %d\n  versionsBundles:\n", l.release(), bundleNumber)
	for _, kube := range []string{"1.30", "1.31"} {
		fmt.Fprintf(&s, "  - kubeVersion: %q\n    endOfStandardSupport: \"2027-12-31\"\n    tinkerbell:\n      version: v0.6.0\n      tinkerbellStack:\n        actions:\n", kube)
		for _, image := range Names() {
			if image != Worker {
				r.entry(&s, "          ", key(image), image, l)
			}
		}
		if l != Agent {
			s.WriteString("        tink:\n")
			r.entry(&s, "          ", "tinkWorker", Worker, l)
		}
	}
	s.WriteString("status: {}\n")
	if _, err := io.WriteString(w, s.String()); err != nil {
		return fmt.Errorf("writing a bundle manifest: %w", err)
	}
	return nil
}

func (r *Registry) entry(s *strings.Builder, indent, key, image string, l Layout) {
	fmt.Fprintf(s, "%s%s:\n", indent, key)
	for _, line := range []string{
		"arch:", "- " + strings.Join(r.arches, "\n"+indent+"  - "), "description: Container image for " + image + " image",
		"imageDigest: " + r.Digest(image).String(), "name: " + image, "os: linux", "uri: " + r.Reference(image, l),
	} {
		fmt.Fprintf(s, "%s  %s\n", indent, line)
	}
}
