package main

import (
	"context"
	"errors"

	"github.com/docker/docker/client"
	"github.com/urfave/cli/v2"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/words"
	"hookbuild/kernel/container"
)

// engineKept is what kernel builds keep in a Docker Engine.
type engineKept struct {
	Engine string           `json:"engine"`
	Kept   []container.Kept `json:"kept"`
	// Error says why the engine could not be asked.
	Error string `json:"error,omitempty"`
}

func keptInFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "builder", Usage: "look for what kernel builds keep on `[ARCH=]ENGINE`, as kernel's --builder names it (repeatable; default: the usual Docker Engine)"}
}

// eachEngine runs do for the engines of --builder, or else for the usual one. An
// engine that nobody named may be missing.
func eachEngine(c *cli.Context, do func(context.Context, client.APIClient) ([]container.Kept, error)) ([]engineKept, error) {
	names := []string{""}
	if given := c.StringSlice("builder"); len(given) > 0 {
		names = nil
		for _, text := range given {
			_, engine, err := parseBuilder(text)
			if err != nil {
				return nil, err
			}
			names = append(names, engine)
		}
	}
	var all []engineKept
	for _, name := range names {
		e := engineKept{Engine: name, Kept: []container.Kept{}}
		engine, err := dockerhost.ConnectTo(c.Context, name)
		switch {
		case err != nil && (name != "" || c.Context.Err() != nil):
			return nil, err
		case err != nil:
			e.Error = err.Error()
		default:
			e.Engine = engine.DaemonHost()
			kept, err := do(c.Context, engine)
			if err := errors.Join(err, engine.Close()); err != nil {
				return nil, err
			}
			e.Kept = append(e.Kept, kept...)
		}
		all = append(all, e)
	}
	return all, nil
}

// printEngines prints what kernel builds keep in engines, and notes which engines
// could not be asked.
func (a *app) printEngines(engines []engineKept) error {
	for _, e := range engines {
		switch {
		case e.Error != "":
			a.note("what kernel builds keep in Docker is not known: no Docker Engine answers; --json has its error")
		case len(e.Kept) > 0:
			a.note("kernel builds in the Docker Engine %s:", e.Engine)
			if err := a.printTable(keptTable(e.Kept)); err != nil {
				return err
			}
		}
	}
	return nil
}

func keptTable(kept []container.Kept) *words.Table {
	t := &words.Table{Head: []string{"KIND", "NAME", "SIZE", "LAST USED"}}
	var total int64
	for _, k := range kept {
		size, used := "not known", ago(k.Used)
		if k.Bytes >= 0 {
			size = words.Bytes(k.Bytes)
			total += k.Bytes
		}
		if k.InUse {
			used += ", in use"
		}
		t.Row(k.Kind, k.Name, size, used)
	}
	t.Row("total", "", words.Bytes(total))
	return t
}
