package verify

import (
	"context"
	"fmt"
	"io"
	"slices"

	"hookbuild/build/artifact"
	"hookbuild/build/worker"
	"hookbuild/bundles"
)

// examineWorker finds out which worker a system has on board, and whether the
// servers of the releases that are known can talk to it.
func (v *verifier) examineWorker(ctx context.Context, s *System) error {
	found, err := s.lookup(bundles.Worker)
	if err != nil {
		return err
	}
	if !found {
		s.NoWorker = v.isHookOS(s.Initramfs)
		return nil
	}
	config, err := s.store.Config(bundles.Worker)
	if err != nil {
		return err
	}
	open := func(path string) (io.ReadCloser, error) { return s.store.OpenFile(ctx, bundles.Worker, path) }
	look := worker.Image{Config: config, Open: open, Names: s.namesOf(bundles.Worker)}
	look.Bundle, look.OfBundle = v.bundleOfWorker(s)
	finding, err := worker.Examine(look)
	if err != nil {
		return invalid("%w", err)
	}
	s.Worker = &Worker{Program: finding.Kind.String(), Because: finding.Because}
	for _, at := range v.releasesOf(s.Initramfs) {
		agent, known := bundles.NeedsAgent(at.release)
		switch {
		case known && agent && finding.Kind == worker.TinkWorker:
			v.wrong(s.Initramfs, "the worker on board is %s; the server of EKS Anywhere %s (%s) talks to tink-agent alone, so it would connect and never get work; embed that of the release's own HookOS", finding, at.release, at.says)
		case known && !agent && finding.Kind == worker.TinkAgent:
			v.wrong(s.Initramfs, "the worker on board is %s; the server of EKS Anywhere %s (%s) talks to tink-worker alone, so it would connect and never get work; embed the one that the release's bundle names", finding, at.release, at.says)
		}
	}
	return nil
}

// bundleOfWorker returns the bundle whose worker a system has on board, in words, and
// the program of its release; both are zero if manifest.json does not say so.
func (v *verifier) bundleOfWorker(s *System) (string, worker.Kind) {
	for _, b := range v.listing.builds {
		has := slices.ContainsFunc(b.Artifacts, func(a artifact.File) bool { return a.Name == s.Initramfs })
		on := slices.ContainsFunc(s.Images, func(i Image) bool { return b.Worker != nil && i.ID == b.Worker.ID })
		if !has || !on || b.Bundle == nil || !b.Worker.OfBundle {
			continue
		}
		switch agent, known := bundles.NeedsAgent(b.Bundle.Release); {
		case known && agent:
			return bundleText(b.Bundle), worker.TinkAgent
		case known:
			return bundleText(b.Bundle), worker.TinkWorker
		}
	}
	return "", worker.Unknown
}

func bundleText(b *artifact.Bundle) string {
	text := fmt.Sprintf("bundle %d", b.Number)
	if b.Release != "" {
		text += " of EKS Anywhere " + b.Release
	}
	return text
}

// namesOf lists the names of an image on board.
func (s *System) namesOf(name string) []string {
	for _, image := range s.Images {
		if slices.Contains(image.Names, name+":latest") {
			return image.Names
		}
	}
	return nil
}

// said is a release and who says that it is the one.
type said struct{ release, says string }

// releasesOf lists the releases that a system is for, as far as that is known.
func (v *verifier) releasesOf(name string) []said {
	var all []said
	for _, b := range v.listing.builds {
		if b.Bundle != nil && slices.ContainsFunc(b.Artifacts, func(a artifact.File) bool { return a.Name == name }) {
			all = append(all, said{b.Bundle.Release, artifact.ManifestFile})
		}
	}
	if c := v.request.Cluster; c != nil && c.Version != "" {
		all = append(all, said{c.Version, c.File})
	}
	return all
}

// checkBundles reports the bundles of the builds, and those that are of another
// release than the cluster.
func (v *verifier) checkBundles(context.Context) error {
	for _, b := range v.listing.builds {
		if b.Bundle == nil {
			continue
		}
		v.report.Bundles = append(v.report.Bundles, Bundle{Build: b.ID, Text: bundleText(b.Bundle), Digest: b.Bundle.Digest, Signature: b.Bundle.Signature})
		if c := v.request.Cluster; c != nil && c.Version != "" && b.Bundle.Release != "" && b.Bundle.Release != c.Version {
			v.wrong(artifact.ManifestFile, "the images of %s are those of EKS Anywhere %s, and %s is for %s; build it again with --cluster %[3]s, without --bundle or with the manifest of %[4]s", b.ID, b.Bundle.Release, c.File, c.Version)
		}
	}
	return nil
}
