package verify

import (
	"testing"

	"hookbuild/bundles"
)

// What is said of an action agrees with the problems: it is unknown only if no system
// certainly lacks the image, also for a template that is given twice.
func TestWhetherActionIsOnBoard(t *testing.T) {
	lacking, damaged := System{Initramfs: "initramfs-a"}, System{Initramfs: "initramfs-b", Damaged: true}
	for name, test := range map[string]struct {
		systems []System
		unknown bool
		faults  int
	}{
		"damaged":             {[]System{damaged}, true, 0},
		"damaged and lacking": {[]System{damaged, lacking}, false, 1},
		"lacking":             {[]System{lacking}, false, 1},
		"no system":           {nil, false, 0},
	} {
		v := &verifier{report: &Report{Systems: test.systems}, actions: map[string]*bundles.Actions{"t.yaml": {}}}
		for range 2 {
			v.checkAction("t.yaml", bundles.Action{Line: 1, Task: "install", Name: "run", Image: "127.0.0.1/embedded/cexec"})
		}
		for _, a := range v.report.Actions {
			if a.OnBoard || a.Unknown != test.unknown || len(v.report.Faults) != test.faults {
				t.Errorf("%s: %+v with %v", name, a, v.report.Faults)
			}
		}
	}
}
