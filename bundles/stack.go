package bundles

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stack returns the bare-metal part. EKS Anywhere writes the same one for every
// Kubernetes version. In manifests made by hand they may differ, and then kubeVersion
// must be set.
func (b *Bundle) stack(kubeVersion string) (*stack, error) {
	if kubeVersion != "" {
		return b.stackOf(strings.TrimPrefix(kubeVersion, "v"))
	}
	return onlyStack(b.doc.Spec.VersionsBundles)
}

// onlyStack returns the bare-metal part of the entries, which must be the same in all
// that have one.
func onlyStack(entries []versionsBundle) (*stack, error) {
	var first *versionsBundle
	for i, v := range entries {
		switch {
		case !v.hasStack():
		case first == nil:
			first = &entries[i]
		default:
			if key := difference(first.Tinkerbell.Stack, v.Tinkerbell.Stack); key != "" {
				return nil, fmt.Errorf("%s for Kubernetes %s and %s differ; choose one with --kube-version", key, first.KubeVersion, v.KubeVersion)
			}
		}
	}
	if first == nil {
		return nil, errors.New("it has no tinkerbellStack, so it is not for bare metal; use the complete manifest of the release")
	}
	return first.Tinkerbell.Stack, nil
}

func (b *Bundle) stackOf(kubeVersion string) (*stack, error) {
	var found []versionsBundle
	for _, v := range b.doc.Spec.VersionsBundles {
		if v.KubeVersion == kubeVersion {
			found = append(found, v)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("it has nothing for Kubernetes %q; its versions are %s", kubeVersion, strings.Join(b.kubeVersions(), ", "))
	}
	s, err := onlyStack(found)
	if err != nil {
		return nil, fmt.Errorf("choosing Kubernetes %q: %w", kubeVersion, err)
	}
	return s, nil
}

func (v versionsBundle) hasStack() bool { return v.Tinkerbell != nil && v.Tinkerbell.Stack != nil }

// difference returns the key of the first image or file that differs between two
// stacks, or "".
func difference(a, b *stack) string {
	inA, inB := a.essence(), b.essence()
	all := maps.Clone(inA)
	maps.Copy(all, inB)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if inA[key] != inB[key] {
			return key
		}
	}
	return ""
}

// essence returns the URI and digest of each image and file in the stack.
func (s *stack) essence() map[string]string {
	parts := map[string]artifact{
		"tink.tinkWorker": s.Tink.Worker,
		"hook.bootkit":    s.Hook.Bootkit, "hook.docker": s.Hook.Docker, "hook.kernel": s.Hook.Kernel,
		"hook.vmlinuz.amd": s.Hook.Vmlinuz.AMD, "hook.vmlinuz.arm": s.Hook.Vmlinuz.ARM,
		"hook.initramfs.amd": s.Hook.Initramfs.AMD, "hook.initramfs.arm": s.Hook.Initramfs.ARM,
		"hook.iso.amd": s.Hook.ISO.AMD, "hook.iso.arm": s.Hook.ISO.ARM,
	}
	for key, a := range s.Actions {
		parts["actions."+key] = a
	}
	to := map[string]string{}
	for key, a := range parts {
		to[key] = a.URI + "@" + a.ImageDigest
	}
	return to
}
