package bundles

import (
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/mod/semver"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
)

// WorkerNeed says which worker the machines of a bundle's release run, and where
// it can be found.
type WorkerNeed struct {
	// Agent reports whether the release's server talks to tink-agent, as those
	// since v0.25.0 do; older ones talk to tink-worker alone.
	Agent bool
	// Named reports whether the bundle names the worker's image.
	Named bool
	// HookOS is the initramfs that the release publishes for the architecture.
	// Its URL is "" where the bundle names none.
	HookOS File
	// HookOSKey identifies the bundle's entry for HookOS: the sha256 in hex of
	// its address and checksums.
	HookOSKey string
	// Commit is the commit of tinkerbell/tinkerbell that the server was made
	// from, "" where the tag of boots does not tell it.
	Commit string
}

// Agent is the repository in which upstream publishes tink-agent.
const Agent = "ghcr.io/tinkerbell/tink-agent"

// commitInTag finds the commit that begins a tag of EKS Anywhere's images.
var commitInTag = regexp.MustCompile(`^[0-9a-f]{40}\b`)

// Worker returns what is known of the worker for an architecture ("amd64",
// "arm64"). KubeVersion is as in [Options].
func (b *Bundle) Worker(arch, kubeVersion string) (*WorkerNeed, error) {
	s, err := b.stack(kubeVersion)
	if err != nil {
		return nil, fault.Invalidf("looking for the worker of %s: %w", b, err)
	}
	n := &WorkerNeed{Named: s.Tink.Worker.URI != "", HookOS: s.Hook.Initramfs.file(arch), Commit: commitInTag.FindString(s.Boots.tag())}
	n.Agent = b.needsAgent(n.Named, n.Commit != "")
	n.HookOSKey = digest.OfStrings(n.HookOS.URL, n.HookOS.SHA256, n.HookOS.SHA512)
	return n, nil
}

// needsAgent goes by the release, where the manifest names one.
func (b *Bundle) needsAgent(named, bootsOfMonorepo bool) bool {
	if agent, known := NeedsAgent(b.Release()); known {
		return agent
	}
	return !named && bootsOfMonorepo
}

// NeedsAgent reports whether the server of an EKS Anywhere release talks to
// tink-agent. Known is false where the release is not a version.
func NeedsAgent(release string) (agent, known bool) {
	if !semver.IsValid(release) {
		return false, false
	}
	return semver.Compare(semver.MajorMinor(release), "v0.25") >= 0, true
}

// missingWorker explains a bundle without a worker where none was given.
func (b *Bundle) missingWorker() error {
	if agent, known := NeedsAgent(b.Release()); known && !agent {
		return fmt.Errorf("it names no tink-worker (tinkerbellStack.tink.tinkWorker), as the manifests of %s do: get the complete manifest again, "+
			"or give the worker's image with --worker-image REF", b.Release())
	}
	return errors.New("it names no worker: since EKS Anywhere v0.25.0 the worker is tink-agent, which no bundle names; " +
		"give its image with --worker-image REF, take it from the HookOS of the same release with --worker-from FILE|URL, " +
		"or continue without it with --no-worker")
}
