package release_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"hookbuild/bundles"
	"hookbuild/internal/cache"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/test/release"
)

func start(t *testing.T) *release.Service {
	t.Helper()
	s, err := release.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestServiceIsWhole resolves every release as a user would, and opens what it
// names.
func TestServiceIsWhole(t *testing.T) {
	s := start(t)
	resolver := &bundles.Resolver{ReleasesURL: s.ReleasesURL()}
	store, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range release.Releases() {
		b, err := resolver.Load(t.Context(), bundles.Ref{EKSAVersion: r.Version})
		if err != nil {
			t.Fatal(err)
		}
		if b.Number() != r.Number || b.Release() != r.Version {
			t.Errorf("%s is %s", r.Version, b)
		}
		need, err := b.Worker("arm64", "")
		if err != nil || need.Named != r.Worker || need.Agent == r.Worker || need.HookOS.URL != s.HookURL(r, "initramfs-aarch64") {
			t.Errorf("%s: %+v, %v", r.Version, need, err)
		}
		f, err := fetch.Open(t.Context(), need.HookOS.URL, fetch.Options{Cache: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := walk(t.Context(), io.NewSectionReader(f, 0, f.Size())); err != nil {
			t.Errorf("%s: %v", r.Version, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	latest, err := resolver.Load(t.Context(), bundles.Ref{})
	if err != nil || latest.Release() != "v0.26.1" {
		t.Errorf("the latest is %v, %v", latest, err)
	}
}

func walk(ctx context.Context, r io.Reader) error {
	in := initramfs.NewReader(ctx, r, initramfs.Limits{})
	for {
		if _, err := in.Next(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// TestMirrorHasOtherDigests checks that the mirror is like one filled by "import
// images": the tag is there, the digest is not.
func TestMirrorHasOtherDigests(t *testing.T) {
	s := start(t)
	r, err := release.Find("v0.24.2")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Mirror(t.Context(), r, "ecr", release.Access{User: "me", Password: "hush"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	get := func(address string, login bool) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.Addr()+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if login {
			request.SetBasicAuth("me", "hush")
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	const repository = "/v2/ecr/eks-anywhere/tinkerbell/actions/cexec/manifests/"
	tag := "c1f643b34c0740a67701a6aea5e0a8f69840daed-eks-a-110"
	if got := get(repository+tag, true); got != http.StatusOK {
		t.Errorf("by tag: %d", got)
	}
	if got := get(repository+s.Images.Digest("cexec"), true); got != http.StatusNotFound {
		t.Errorf("by digest: %d", got)
	}
	if got := get(repository+tag, false); got != http.StatusUnauthorized {
		t.Errorf("without a login: %d", got)
	}
}
