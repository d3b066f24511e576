package squashfs

import "sync"

// cache keeps the most recently read values. It is safe for concurrent use; two
// concurrent requests for the same value may both compute it.
type cache struct {
	mu     sync.Mutex
	most   int
	values map[uint64]any
	order  []uint64 // oldest first
}

func newCache(most int) *cache {
	return &cache{most: most, values: map[uint64]any{}}
}

func (c *cache) get(key uint64, read func() (any, error)) (any, error) {
	c.mu.Lock()
	v, ok := c.values[key]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.values[key]; ok {
		return v, nil
	}
	if len(c.order) == c.most {
		delete(c.values, c.order[0])
		c.order = c.order[1:]
	}
	c.values[key] = v
	c.order = append(c.order, key)
	return v, nil
}
