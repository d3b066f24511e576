package oci

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// taken is an image that a mirror had under a tag, taken in the place of the one that
// was asked for ([Options.MirrorByTag]).
type taken struct {
	name, mirror, tag string
	asked, has        v1.Hash
	says              string // what is known of the two
}

// takenByTag collects such images.
type takenByTag struct {
	mu   sync.Mutex
	list []taken
}

type takenByTagKey struct{}

// Together returns a context under which [Client.Image] does not warn of each image
// that it takes by its tag, and a function that warns of all of them at once.
func (c *Client) Together(ctx context.Context) (_ context.Context, warn func()) {
	all := &takenByTag{}
	return context.WithValue(ctx, takenByTagKey{}, all), func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		c.warnTaken(all.list)
	}
}

// warnOf warns of an image, or leaves that to [Client.Together].
func (c *Client) warnOf(ctx context.Context, t taken) {
	all, together := ctx.Value(takenByTagKey{}).(*takenByTag)
	if !together {
		c.warnTaken([]taken{t})
		return
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.list = append(all.list, t)
}

func (c *Client) warnTaken(all []taken) {
	switch len(all) {
	case 0:
		return
	case 1:
		t := all[0]
		progress.Warnf(c.sink, "%s: the mirror %s has no %s; its image of the tag %s, %s, is taken instead (--mirror-by-tag): %s", t.name, t.mirror, t.asked, t.tag, t.has, t.says)
		return
	}
	slices.SortFunc(all, func(a, b taken) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.tag, b.tag)) })
	var lines, mirrors []string
	for _, t := range all {
		lines = append(lines, fmt.Sprintf("%s:%s: %s instead of %s: %s", t.name, t.tag, t.has, t.asked, t.says))
		if !slices.Contains(mirrors, t.mirror) {
			mirrors = append(mirrors, t.mirror)
		}
	}
	progress.Warnf(c.sink, "%s are not at the mirror %s by digest; its images of their tags are taken instead (--mirror-by-tag):\n%s",
		words.Count(len(all), "image"), strings.Join(mirrors, ", "), strings.Join(lines, "\n"))
}
