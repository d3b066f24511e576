package kernel

import (
	"context"
	"fmt"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/kernel/modules"
)

// selection is the result of [Image.keepChosen].
type selection struct {
	// Kept and Total are numbers of modules.
	Kept, Total int
	// Needed names excluded modules that were kept because others depend on
	// them.
	Needed []string
	// Missing is the firmware that modules request and the given tree lacks.
	// It is empty if no tree was given.
	Missing []modules.FirmwareUse
}

// keepChosen keeps only the chosen modules and their dependencies. If firmware is
// not nil, it adds the firmware that the remaining modules name, as
// lib/firmware of [Image.Modules]. It warns about a choice that cannot be
// followed. [Image.Digest] changes with the selection.
func (m *Image) keepChosen(ctx context.Context, choice modules.Choice, firmware *initramfs.Tree, o Options) (*selection, error) {
	task := progress.Start(o.Progress, 0, "choose the modules of %s", m.Release)
	selection, err := m.selectModules(ctx, choice, firmware, o)
	if err == nil {
		m.Digest, err = m.digestOfSelection(ctx)
	}
	if err != nil {
		return nil, task.End(err, "")
	}
	if len(choice.Include)+len(choice.Exclude) > 0 {
		m.choice = choiceKey(choice)
	}
	selection.warn(o.Progress)
	return selection, task.End(nil, fmt.Sprintf("%d of %d modules", selection.Kept, selection.Total))
}

// choiceKey identifies a choice.
func choiceKey(c modules.Choice) string {
	return digest.OfStrings(append(append([]string{"choice v1"}, c.Include...), append([]string{"but"}, c.Exclude...)...)...)
}

func (s *selection) warn(sink progress.Sink) {
	if len(s.Needed) > 0 {
		progress.Warnf(sink, "these excluded modules are kept because others depend on them: %s", strings.Join(s.Needed, ", "))
	}
	if n := len(s.Missing); n > 0 {
		progress.Warnf(sink, "%d firmware files that modules request are not in the given firmware, for example %s of %s", n, s.Missing[0].Name, s.Missing[0].Module)
	}
}

func (m *Image) digestOfSelection(ctx context.Context) (string, error) {
	selected, err := contentDigest(ctx, m.Modules)
	return "sha256:" + digest.OfStrings("selection v1", m.Digest, selected), err
}

func (m *Image) selectModules(ctx context.Context, choice modules.Choice, firmware *initramfs.Tree, o Options) (*selection, error) {
	set, err := modules.Read(ctx, m.Modules, m.Release, o.Jobs)
	if err != nil {
		return nil, err
	}
	selection := &selection{Total: len(set.Modules)}
	kept, err := set.Choose(choice)
	if err != nil {
		return nil, err
	}
	for _, needed := range kept.Needed {
		selection.Needed = append(selection.Needed, needed.Name)
	}
	if set, err = set.Prune(m.Modules, kept); err != nil {
		return nil, err
	}
	selection.Kept = len(set.Modules)
	if firmware != nil {
		selection.Missing, err = set.AddFirmware(m.Modules, firmware)
	}
	return selection, err
}
