package shared

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// pusher pushes results.
type pusher struct {
	*Cache
	repository name.Repository
	// plain leaves out the artifact type, which some registries refuse.
	plain bool
	sent  int
	bytes int64
}

// Push sends the offered results that To lacks, one after the other. A registry
// that fails is reported, and gets no more of them.
func (c *Cache) Push(ctx context.Context) error {
	c.mu.Lock()
	offers := c.offers
	c.offers = nil
	c.mu.Unlock()
	if len(offers) == 0 {
		return nil
	}
	repository, err := c.Remote.ParseRepository(c.To)
	if err != nil {
		return err
	}
	p := &pusher{Cache: c, repository: repository}
	for _, o := range offers {
		if err := p.push(ctx, o); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			progress.Warnf(c.Progress, "pushing %s to the shared cache %s: %v; pushing no more results (docker login stores the credentials that are used)", tagOf(o.kind, o.key), c.To, err)
			break
		}
	}
	if p.sent > 0 {
		progress.Notef(c.Progress, "pushed %s (%s) to the shared cache %s", words.Count(p.sent, "result"), words.Bytes(p.bytes), c.To)
	}
	return nil
}

// push sends one result unless the registry has it.
func (p *pusher) push(ctx context.Context, o offer) error {
	tag := p.repository.Tag(tagOf(o.kind, o.key))
	if !p.isBad(o) {
		has, err := p.has(ctx, tag)
		if has || err != nil {
			return err
		}
	}
	r, err := newResult(o, !p.plain)
	if err != nil {
		return err
	}
	err = p.write(ctx, tag, r)
	if oci.Refused(err) && !p.plain {
		progress.Warnf(p.Progress, "%s refuses manifests with an artifact type (%s); pushing the results as plain images", p.repository.RegistryStr(), oci.Brief(err))
		p.plain = true
		if err := r.seal(false); err != nil {
			return err
		}
		err = p.write(ctx, tag, r)
	}
	if err == nil {
		p.sent++
		p.bytes += r.size
	}
	return err
}

// isBad reports whether the registry's entry for an offer cannot be used.
func (p *pusher) isBad(o offer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bad[p.To+":"+tagOf(o.kind, o.key)]
}

func (p *pusher) has(ctx context.Context, tag name.Tag) (bool, error) {
	ctx, cancel := p.within(ctx, 0)
	defer cancel()
	_, err := remote.Head(tag, p.Remote.Options(ctx)...)
	if oci.IsMissing(err) {
		return false, nil
	}
	return err == nil, ended(ctx, err)
}

func (p *pusher) write(ctx context.Context, tag name.Tag, r *result) error {
	image, err := r.image()
	if err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, r.size)
	defer cancel()
	r.task = progress.Start(p.Progress, r.size, "push %s %.12s to the shared cache %s", nameOf(r.kind), r.key, p.To)
	err = ended(ctx, remote.Write(tag, image, p.Remote.Options(ctx)...))
	if err != nil {
		_ = r.task.End(nil, "not pushed") // the caller says why
		return err
	}
	return r.task.End(nil, "")
}
