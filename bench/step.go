package main

import (
	"context"
	"time"
)

// measure runs a step and returns the cost of its programs and of the dockerds
// meanwhile.
func (o *oldWay) measure(ctx context.Context, s step) (cost, error) {
	settle()
	before, err := o.engines()
	if err != nil {
		return cost{}, err
	}
	o.spent = cost{}
	began := time.Now()
	if err := s.do(o, ctx); err != nil {
		return cost{}, err
	}
	wall := time.Since(began)
	after, err := o.engines()
	if err != nil {
		return cost{}, err
	}
	return cost{wall: wall, cpu: o.spent.cpu + max(0, after.cpu-before.cpu), peak: max(o.spent.peak, after.peak)}, nil
}

// engines returns the cost of the dockerds so far.
func (o *oldWay) engines() (all cost, err error) {
	for _, e := range []*engine{o.builder, o.second} {
		if e == nil {
			continue
		}
		usage, err := e.usage()
		if err != nil {
			return all, err
		}
		all = all.then(usage)
	}
	return all, nil
}

// shell runs lines of bash as a part of the step.
func (o *oldWay) shell(ctx context.Context, lines string, args ...string) error {
	return o.add(script(lines, args...).run(ctx))
}

// docker is shell with DOCKER_HOST set to an engine.
func (o *oldWay) docker(ctx context.Context, e *engine, lines string, args ...string) error {
	return o.add(e.use(script(lines, args...)).run(ctx))
}

func (o *oldWay) add(c cost, err error) error {
	o.spent = o.spent.then(c)
	return err
}
