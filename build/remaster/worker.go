package remaster

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Workers finds the workers that bundles do not name.
type Workers struct{ *Editor }

var _ onboard.WorkerSource = Workers{}

// workersKind is the cache's name for workers that were taken out of a HookOS.
const workersKind = "workers"

// Release implements [onboard.WorkerSource]: the worker comes out of the HookOS
// of the same release, else it is upstream's tink-agent of the commit that the
// release's server was made from.
func (w Workers) Release(ctx context.Context, b *bundles.Bundle, need *bundles.WorkerNeed, arch string) (*onboard.Worker, error) {
	var tried []error
	for _, find := range []func(context.Context, *bundles.Bundle, *bundles.WorkerNeed) (*onboard.Worker, error){w.ofRelease, w.upstream} {
		found, err := find(ctx, b, need)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var final *finalError
		if errors.As(err, &final) {
			return nil, fmt.Errorf("finding the worker of %s for %s: %w", b, arch, err)
		}
		tried = append(tried, err)
	}
	kind := fault.Invalid
	for _, err := range tried {
		if fault.KindOf(err) != fault.Invalid {
			kind = fault.KindOf(err)
		}
	}
	return nil, fault.Mark(fmt.Errorf("finding the worker of %s for %s, which the bundle does not name: %w; %w; give --worker-image REF, --worker-from FILE|URL or --no-worker",
		b, arch, tried[0], tried[1]), kind)
}

// finalError says that no other place is asked.
type finalError struct{ error }

// Unwrap returns the cause.
func (e *finalError) Unwrap() error { return e.error }

// ofRelease takes the worker out of the HookOS that the bundle names. Its file is
// fetched once.
func (w Workers) ofRelease(ctx context.Context, b *bundles.Bundle, need *bundles.WorkerNeed) (*onboard.Worker, error) {
	source := need.HookOS.URL
	if source == "" {
		return nil, fault.Invalidf("the bundle names no HookOS (hook.initramfs)")
	}
	if need.HookOS.SHA256 != "" {
		source += "#sha256=" + need.HookOS.SHA256
	}
	key, err := digest.Key(w.Salt, bundles.Worker, need.HookOSKey)
	if err != nil {
		return nil, err
	}
	found, err := w.lift(ctx, key, func() (fetch.File, error) {
		f, err := fetch.Once(ctx, source, need.HookOSKey, w.fetchOptions())
		if err == nil {
			err = checkSHA512(f, need.HookOS.SHA512)
		}
		if fault.KindOf(err) == fault.Invalid { // such as another checksum
			err = &finalError{err}
		}
		return f, err
	})
	if err != nil {
		err = fmt.Errorf("taking it out of the release's HookOS %s: %w", web.Show(need.HookOS.URL), err)
		if fault.KindOf(err) == fault.Failed {
			return nil, &finalError{err}
		}
		progress.Warnf(w.Progress, "%v; trying %s instead", err, bundles.Agent)
		return nil, err
	}
	found.From, found.OfBundle = "the HookOS of "+b.String(), true
	found.HookOS = web.Show(need.HookOS.URL)
	return found, nil
}

// checkSHA512 compares a file with the checksum that a bundle has for it, and closes
// one that differs.
func checkSHA512(f fetch.File, want string) error {
	if want == "" {
		return nil
	}
	sum := sha512.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return errors.Join(err, f.Close())
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, want) {
		return errors.Join(fault.Invalidf("its sha512 is %s, and the bundle says %s; fetch the bundle again, or give --worker-image or --worker-from", got, want), f.Close())
	}
	return nil
}

// upstream names upstream's image of the commit.
func (w Workers) upstream(ctx context.Context, _ *bundles.Bundle, need *bundles.WorkerNeed) (*onboard.Worker, error) {
	if need.Commit == "" {
		return nil, fault.Invalidf("the tag of boots tells no commit of tinkerbell/tinkerbell, by which %s could be chosen", bundles.Agent)
	}
	tags, err := w.Client.Tags(ctx, bundles.Agent)
	if err != nil {
		return nil, err
	}
	tag := tagOfCommit(tags, need.Commit)
	if tag == "" {
		return nil, fault.Invalidf("none of the %d tags of %s is of the commit %s", len(tags), bundles.Agent, need.Commit)
	}
	return onboard.Upstream(bundles.Agent+":"+tag, need), nil
}

// commitAtEnd finds the abbreviated commit that ends a tag: upstream tagged
// tink-agent with it alone, and later with versions that end in it.
var commitAtEnd = regexp.MustCompile(`(?:^|[-.])g?([0-9a-f]{7,40})$`)

// tagOfCommit returns the tag that has most of the commit, "" for none.
func tagOfCommit(tags []string, commit string) (best string) {
	longest := 0
	for _, tag := range tags {
		m := commitAtEnd.FindStringSubmatch(tag)
		if m != nil && strings.HasPrefix(commit, m[1]) && len(m[1]) > longest {
			best, longest = tag, len(m[1])
		}
	}
	return best
}

// HookOS implements [onboard.WorkerSource].
func (w Workers) HookOS(ctx context.Context, source string) (*onboard.Worker, error) {
	file, err := fetch.Open(ctx, source, w.fetchOptions())
	if err != nil {
		return nil, fmt.Errorf("taking the worker out of a HookOS: %w", err)
	}
	defer file.Close() // only read
	content, err := fetch.Digest(ctx, file)
	if err != nil {
		return nil, err
	}
	key, err := digest.Key(w.Salt, bundles.Worker, content)
	if err != nil {
		return nil, err
	}
	found, err := w.lift(ctx, key, func() (fetch.File, error) { return fetch.Open(ctx, source, w.fetchOptions()) })
	if err != nil {
		return nil, fmt.Errorf("taking the worker out of %q: %w", web.Show(source), err)
	}
	found.HookOS = web.Show(source)
	if !web.IsURL(source) {
		found.HookOS = filepath.Base(source)
	}
	found.From = "the HookOS " + found.HookOS
	return found, nil
}

// lift takes the worker out of the HookOS that open opens, unless the cache has it
// under the key.
func (w Workers) lift(ctx context.Context, key string, open func() (fetch.File, error)) (*onboard.Worker, error) {
	archive, _, err := w.Cache.Derived(ctx, workersKind, key, func(out io.Writer) error {
		file, err := open()
		if err != nil {
			return err
		}
		content, err := fetch.Digest(ctx, file)
		if err != nil {
			return errors.Join(err, file.Close())
		}
		if err := w.Cache.SetNote(workersKind, "HookOS of "+key, content); err != nil {
			return errors.Join(err, file.Close())
		}
		return w.extractFrom(ctx, file, out)
	})
	if err != nil {
		return nil, err
	}
	content, err := w.Cache.Note(workersKind, "HookOS of "+key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, archive.Close())
	}
	return &onboard.Worker{Source: "docker-archive:" + archive.Path(), HookOSDigest: content}, archive.Close()
}

// extractFrom writes the worker of an open HookOS, which it closes.
func (w Workers) extractFrom(ctx context.Context, file fetch.File, out io.Writer) (err error) {
	in := &Existing{Name: "the HookOS", file: file, cache: w.Cache}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := in.unpack(ctx, w.Progress, nil); err != nil {
		return err
	}
	store, err := in.Store()
	if err != nil {
		return err
	}
	if store == nil {
		return fault.Invalidf("it has no embedded images")
	}
	x, err := store.Extract(ctx, bundles.Worker, out)
	if err != nil {
		return err
	}
	for _, note := range x.Notes {
		progress.Notef(w.Progress, "the worker: %s", note)
	}
	return nil
}
