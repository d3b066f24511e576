package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/verify"
	"hookbuild/bundles"
	"hookbuild/internal/bounded"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
)

// keepBundle puts a bundle manifest into the cache, so that verify can verify its
// signature later.
func (a *app) keepBundle(c *cli.Context, b *bundles.Bundle) error {
	store, err := a.openCache(c)
	if err != nil {
		return err
	}
	return fetch.Keep(c.Context, b.Text(), fetch.Options{Cache: store})
}

// manifest is the text of a bundle manifest and where it was found, in words.
type manifest struct {
	text  []byte
	where string
}

// verifyBundles verifies the signatures of the builds' bundles where their manifests
// are at hand: named by --bundle (nil without it), in the kit, or in the cache.
func (a *app) verifyBundles(c *cli.Context, report *verify.Report, named *manifest) (err error) {
	used := false
	for i := range report.Bundles {
		b := &report.Bundles[i]
		m := named
		if m == nil || digest.OfBytes(m.text) != b.Digest {
			if m, err = a.keptManifest(c, b.Digest); err != nil {
				return err
			}
		}
		used = used || m != nil && m == named
		if m == nil {
			continue
		}
		parsed, err := bundles.Parse(m.text, m.where)
		if err != nil {
			return err
		}
		was := b.Signature
		b.Verified, b.Signature = m.where, string(parsed.Signature())
		if parsed.Signature() == bundles.SignatureWrong {
			_, err := parsed.VerifySignature()
			report.Faults = append(report.Faults, verify.Fault{File: artifact.ManifestFile, Problem: fmt.Sprintf("%s: %v", b.Text, err)})
		} else if was != "" && was != b.Signature {
			report.Faults = append(report.Faults, verify.Fault{File: artifact.ManifestFile, Problem: fmt.Sprintf("it records that the signature of %s is %s, and it is %s", b.Text, was, b.Signature)})
		}
	}
	if named != nil && !used {
		return fault.Invalidf("verifying the bundle manifest %s: none of the artifacts was built from it (its digest is %s); name the one that %s names", named.where, digest.OfBytes(named.text), artifact.ManifestFile)
	}
	return nil
}

// namedManifest reads the manifest of --bundle, nil without one.
func (a *app) namedManifest(c *cli.Context) (*manifest, error) {
	name := c.String("bundle")
	if name == "" {
		return nil, nil //nolint:nilnil // no manifest is named
	}
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	resolver := &bundles.Resolver{Web: client, Offline: c.Bool("offline"), Progress: a.sink()}
	b, err := resolver.Load(c.Context, bundles.Ref{Bundle: name})
	if err != nil {
		return nil, err
	}
	return &manifest{b.Text(), b.Origin}, nil
}

// keptManifest returns the manifest with a digest from the kit or the cache, nil if
// neither has it.
func (a *app) keptManifest(c *cli.Context, sum string) (*manifest, error) {
	h, err := v1.NewHash(sum)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // the manifest of an old hookbuild has no digest
	}
	k, err := a.kitOf(c)
	if err != nil {
		return nil, err
	}
	if k != nil && k.Has(h) {
		content, err := k.Blob(c.Context, h)
		if err != nil {
			return nil, err
		}
		text, err := bounded.ReadAll(content, bounded.Small)
		return &manifest{text, "the kit"}, err
	}
	return a.cachedManifest(c, sum)
}

func (a *app) cachedManifest(c *cli.Context, sum string) (*manifest, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return nil, err
	}
	store, err := cache.OpenExisting(dir, a.sink())
	if err != nil {
		return nil, err
	}
	f, err := fetch.Kept(c.Context, sum, fetch.Options{Cache: store})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // the cache may have lost it
	}
	if err != nil {
		return nil, err
	}
	text, err := bounded.ReadAll(io.NewSectionReader(f, 0, f.Size()), bounded.Small)
	return &manifest{text, "the cache"}, errors.Join(err, f.Close())
}
