package kconfig

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// cards is a Kconfig file with the forms that drivers' dependencies have.
const cards = `
menu "Network"
	depends on NET
comment "only on other machines"
	depends on PPC
config NET
	bool "Networking"
config VENDOR
	bool "A vendor"
	default y
config QED
	tristate "The core"
	depends on PCI && VENDOR # "n" if there is no such card
config QEDE
	tristate "Ethernet"
	depends on QED
config CORE
	tristate
config EN
	tristate "Ethernet on the core"
	select CORE
config IB
	tristate "InfiniBand on the core"
	depends on EXTRA
	select CORE
config EXTRA
	tristate "More"
config OPTIONAL
	tristate "With an optional helper"
	depends on EXTRA || EXTRA=n
	depends on QED if QEDE
config ONLY
	bool "Built in only"
	depends on EXTRA=y
config GLUE
	def_tristate EXTRA && PCI
config ALWAYS
	bool
	default PPC
	default y
config ELSEWHERE
	tristate "On other machines"
	depends on PPC || COMPILE_TEST
endmenu
config OUTSIDE
	def_bool y
config PCI
	bool "PCI"
`

func TestSettings(t *testing.T) {
	files := fstest.MapFS{"Kconfig": {Data: []byte(cards)}}
	tree, err := ReadTree(files.ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{
		"QEDE":            "CONFIG_QEDE=m ~CONFIG_NET=y CONFIG_QED=m ~CONFIG_PCI=y ?CONFIG_VENDOR=y",
		"CONFIG_CORE":     "CONFIG_EN=m ~CONFIG_NET=y",
		"CONFIG_OPTIONAL": "CONFIG_OPTIONAL=m ~CONFIG_NET=y",
		"ONLY":            "CONFIG_ONLY=y ~CONFIG_NET=y CONFIG_EXTRA=y",
		"ALWAYS":          "~CONFIG_NET=y",
		"OUTSIDE":         "",
		"GLUE":            "CONFIG_EXTRA=m ~CONFIG_NET=y ~CONFIG_PCI=y",
	} {
		list, err := tree.Settings(option, []string{"NET", "PCI"})
		var words []string
		for _, s := range list {
			words = append(words, s.String())
			if again, err := ParseSetting(s.String()); err != nil || again != s {
				t.Errorf("%s read back is %v, %v", s, again, err)
			}
		}
		if got := strings.Join(words, " "); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", option, got, err, want)
		}
	}
	for option, want := range map[string]string{"ELSEWHERE": "no option CONFIG_PPC", "ABSENT": "no option CONFIG_ABSENT"} {
		if list, err := tree.Settings(option, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", option, list, err, want)
		}
	}
	for _, text := range []string{"", "CONFIG_A", "A=m", "CONFIG_A=n"} {
		if s, err := ParseSetting(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// TestCommentsHaveConditions checks that the condition of a comment is not that of the
// options after it.
func TestCommentsHaveConditions(t *testing.T) {
	files := fstest.MapFS{"Kconfig": {Data: []byte(cards)}}
	tree, err := ReadTree(files.ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	err = Check([]Request{{Option: "CONFIG_QED", Value: "m"}}, parse(t, "CONFIG_NET=y\nCONFIG_PCI=y\n"), tree)
	if err == nil || strings.Contains(err.Error(), "PPC") || !strings.Contains(err.Error(), "CONFIG_VENDOR") {
		t.Errorf("the explanation is %v", err)
	}
}

// TestConditionalDependencies reads "depends on A if B".
func TestConditionalDependencies(t *testing.T) {
	files := fstest.MapFS{"Kconfig": {Data: []byte(cards)}}
	tree, err := ReadTree(files.ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	asked := []Request{{Option: "CONFIG_OPTIONAL", Value: "m"}}
	for text, want := range map[string]bool{"CONFIG_NET=y\n": false, "CONFIG_NET=y\nCONFIG_QEDE=y\n": true} {
		err := Check(asked, parse(t, text), tree)
		if err == nil || slices.Contains(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r == ',' }), "CONFIG_QED") != want {
			t.Errorf("with %q: %v; want CONFIG_QED named: %t", text, err, want)
		}
	}
}
