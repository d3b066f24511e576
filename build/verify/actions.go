package verify

import (
	"context"
	"fmt"
	"strings"

	"hookbuild/bundles"
)

// Action is an action of a template.
type Action struct {
	Template string `json:"template"`
	bundles.Action
	// OnBoard says whether every system that was looked into has the image.
	OnBoard bool `json:"onBoard"`
}

// checkActions looks for the images that the templates' actions use.
func (v *verifier) checkActions(ctx context.Context) error {
	for _, file := range v.request.Templates {
		err := v.during(v.start(0, "look for the actions of %s", file), func() error {
			actions, err := bundles.ReadActions(file)
			if err != nil {
				return v.take(ctx, file, err)
			}
			for _, a := range actions {
				v.checkAction(file, a)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) checkAction(file string, a bundles.Action) {
	before := len(v.report.Faults)
	wrong := func(format string, args ...any) {
		v.wrongAt(file, a.Line, "task %q, action %q: %s", a.Task, a.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case a.Image == "":
		wrong("it has no image; name the one that it runs in")
	case strings.Contains(a.Image, "{{"):
		wrong("its image %s is known only when Tinkerbell fills it in; write the name out", a.Image)
	default:
		for _, s := range v.report.Systems {
			if found, err := s.lookup(a.Image); err != nil {
				wrong("%v", err)
			} else if !found {
				wrong("its image %s is not in %s; on board are %s; embed it by that name (--image SRC=NAME), or use one of these", a.Image, s.Initramfs, s.onBoard())
			}
		}
	}
	sound := len(v.report.Faults) == before && len(v.report.Systems) > 0
	v.report.Actions = append(v.report.Actions, Action{Template: file, Action: a, OnBoard: sound})
}
