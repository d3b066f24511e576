package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hookbuild/bundles"
)

// Action is an action of a template.
type Action struct {
	Template string `json:"template"`
	bundles.Action
	// OnBoard reports whether every system that was checked has the image.
	OnBoard bool `json:"onBoard"`
	// Unknown reports that OnBoard is false only because a system is Damaged.
	Unknown bool `json:"unknown,omitempty"`
}

// checkActions checks that the systems have the images that the templates' actions
// use.
func (v *verifier) checkActions(context.Context) error {
	for _, file := range v.request.Templates {
		err := v.during(v.start(0, "look for the actions of %s", file), func() error {
			actions := v.actions[file]
			for _, a := range actions.All {
				v.checkAction(file, a)
			}
			if actions.Cluster {
				v.checkWorker(file)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	v.checkReferences()
	return nil
}

// checkWorker checks that the systems have the worker, which runs the actions of an
// EKS Anywhere machine.
func (v *verifier) checkWorker(file string) {
	for _, s := range v.report.Systems {
		if s.Damaged {
			continue // this is reported already
		}
		if found, err := s.lookup(bundles.Worker); err != nil {
			v.wrong(file, "%v", err)
		} else if !found {
			v.wrong(file, "its machines run the worker %s, which is not in %s (embedded: %s); embed it from the bundle (--worker-image and --worker-from choose another than the bundle's) or, without a bundle, with --image SRC=%[1]s", bundles.Worker, s.Initramfs, s.onBoard())
		}
	}
}

// checkReferences checks that the templates that objects refer to are in one of the
// files.
func (v *verifier) checkReferences() {
	given := map[string]bool{}
	for _, actions := range v.actions {
		for _, t := range actions.Templates {
			given[t.Kind+" "+t.Name] = true
		}
	}
	for _, file := range v.request.Templates {
		for _, ref := range v.actions[file].Refs {
			if name := ref.Kind + " " + ref.Name; !given[name] {
				v.wrongAt(file, ref.Line, "the %s refers to the %s, which is in none of the files, so its actions were not checked; add its file with --template", ref.Of, name)
			}
		}
	}
}

func (v *verifier) checkAction(file string, a bundles.Action) {
	sound := len(v.report.Systems) > 0
	known := !slices.ContainsFunc(v.report.Systems, func(s System) bool { return s.Damaged })
	wrong := func(format string, args ...any) {
		sound = false
		v.wrongAt(file, a.Line, "task %q, action %q: %s", a.Task, a.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case a.Image == "":
		wrong("it has no image; name one")
	case strings.Contains(a.Image, "{{"):
		wrong("its image %s is a placeholder that Tinkerbell fills in; write the name of the image", a.Image)
	default:
		for _, s := range v.report.Systems {
			if s.Damaged {
				continue // this is reported already
			}
			if found, err := s.lookup(a.Image); err != nil {
				wrong("%v", err)
			} else if !found {
				sound = false
				v.lacksImage(file, a, &s)
			}
		}
	}
	v.report.Actions = append(v.report.Actions, Action{Template: file, Action: a, OnBoard: sound && known, Unknown: sound && !known})
}

// lacksImage adds the fault that an action's image is not embedded. Only the first
// one for an initramfs lists the images that are.
func (v *verifier) lacksImage(file string, a bundles.Action, s *System) {
	text := fmt.Sprintf("task %q, action %q: its image %s is not in %s", a.Task, a.Name, a.Image, s.Initramfs)
	list := fmt.Sprintf("is not in %s (embedded: ", s.Initramfs)
	onBoard := s.onBoard()
	for _, f := range v.report.Faults {
		if f.File == file && f.Line == a.Line && strings.HasPrefix(f.Problem, text+" ") {
			return // of the same file, given twice
		}
		if strings.Contains(f.Problem, list) {
			onBoard = "see above"
		}
	}
	v.wrongAt(file, a.Line, "%s (embedded: %s); %s", text, onBoard, v.remedy(file, a.Image, len(s.Images) > 0))
}

// remedy says how to get an action's image on board. The images that EKS Anywhere's
// templates use come with its bundle. Others says whether there are embedded images
// that the action could use instead.
func (v *verifier) remedy(file, image string, others bool) string {
	named := "embed it under that name (--image SRC=" + image + ")"
	if others {
		named += ", or use one of those"
	}
	if !strings.HasPrefix(image, bundles.EmbedPrefix) && !strings.Contains(image, "/eks-anywhere/") {
		return named
	}
	with := "--embed-from-bundle"
	if v.actions[file].Cluster {
		with = "--cluster " + file
	}
	return "if it is one of EKS Anywhere's own actions, build with `hookbuild all " + with + "`; otherwise " + named
}
