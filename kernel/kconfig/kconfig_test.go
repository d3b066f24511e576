package kconfig

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"hookbuild/internal/fault"
)

const sample = `# comment
CONFIG_ENIC=m
# CONFIG_ICE is not set
CONFIG_CMDLINE="console=ttyS0 quiet"
CONFIG_LOG_BUF_SHIFT=17
CONFIG_BASE=0xffff

CONFIG_ENIC=y
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse(strings.NewReader(text), "sample")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	c := parse(t, sample)
	for option, want := range map[string]string{
		"CONFIG_ENIC": "y", "ENIC": "y", "ICE": "n", "CONFIG_CMDLINE": `"console=ttyS0 quiet"`,
		"LOG_BUF_SHIFT": "17", "BASE": "0xffff", "ABSENT": "n",
	} {
		if got, _ := c.Get(option); got != want {
			t.Errorf("%s is %q, want %q", option, got, want)
		}
	}
	if c.Len() != 5 {
		t.Errorf("there are %d options: %v", c.Len(), c.values)
	}
}

func TestBadConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"CONFIG_A=y\nnonsense\n": "line 2",
		"CONFIG_A=yes\n":         `the value "yes"`,
		"CONFIG_A=\"open\n":      "not closed",
		"CONFIG_A-B=y\n":         "neither",
		"<!DOCTYPE html>\n":      "line 1",
		"CONFIG_A=" + strings.Repeat("1", 70000) + "\n": "too long",
	} {
		_, err := Parse(strings.NewReader(text), "bad.config")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.config") || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.30q gives %v; it should say %q", text, err, want)
		}
	}
}

func TestDiff(t *testing.T) {
	before, after := parse(t, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n"), parse(t, "CONFIG_A=m\nCONFIG_D=\"x\"\n# CONFIG_E is not set\n")
	words := func(changes []Change) string {
		var lines []string
		for _, c := range changes {
			lines = append(lines, c.String())
		}
		return strings.Join(lines, "\n")
	}
	if got, want := words(Diff(before, after)), "CONFIG_A: y -> m\nCONFIG_C: m -> not set\nCONFIG_D: not set -> \"x\""; got != want {
		t.Errorf("the difference is\n%s\nwant\n%s", got, want)
	}
	if got, want := words(DiffDefconfigs(before, after)), "CONFIG_A: y -> m\nCONFIG_B: not set -> default\nCONFIG_C: m -> default\nCONFIG_D: default -> \"x\"\nCONFIG_E: default -> not set"; got != want {
		t.Errorf("the defconfigs' difference is\n%s\nwant\n%s", got, want)
	}
}

func TestParseSet(t *testing.T) {
	for arg, want := range map[string]string{
		"CONFIG_ENIC=y": "CONFIG_ENIC=y (--set)", "ENIC=n": "CONFIG_ENIC=n (--set)", "X=17": "CONFIG_X=17 (--set)",
		`CMDLINE="a b"`: `CONFIG_CMDLINE="a b" (--set)`, "CMDLINE=a b=c": `CONFIG_CMDLINE="a b=c" (--set)`,
		"ENIC": "", "E NIC=y": "", `X="a"b`: "",
		"ENIC=M": "", "ENIC=yes": "", "ENIC=Off": "", `X="M"`: `CONFIG_X="M" (--set)`, "X=max": `CONFIG_X="max" (--set)`,
	} {
		r, err := ParseSet(arg)
		switch {
		case want == "" && (err == nil || fault.KindOf(err) != fault.Usage):
			t.Errorf("%q gives %v, %v; want an error of usage", arg, r, err)
		case want != "" && (err != nil || r.String() != want):
			t.Errorf("%q gives %v, %v; want %s", arg, r, err, want)
		}
	}
}

func TestMerge(t *testing.T) {
	fragment := parse(t, "# Cisco UCS\nCONFIG_ENIC=y\n\n# CONFIG_ICE is not set\n")
	requests := append(fragment.Requests("--fragment cisco"), Request{"CONFIG_ICE", "m", "--set"})
	if got := requests[0].String(); got != "CONFIG_ENIC=y (--fragment cisco, line 2)" {
		t.Errorf("the first request is %q", got)
	}
	merged := string(Merge([]byte("CONFIG_A=y\n# CONFIG_ENIC is not set"), requests))
	if want := "CONFIG_A=y\n# CONFIG_ENIC is not set\nCONFIG_ENIC=y\nCONFIG_ICE=m\n"; merged != want {
		t.Errorf("merged is\n%swant\n%s", merged, want)
	}
}

// files returns a small kernel's Kconfig files.
func files() fstest.MapFS {
	return fstest.MapFS{
		"Kconfig": {Data: []byte("mainmenu \"Linux/$(ARCH)\"\n\nsource \"arch/$(SRCARCH)/Kconfig\"\nsource \"drivers/Kconfig\"\nosource \"missing/Kconfig\"\nsource \"$(KCONFIG_EXT)\"\n")},
		"arch/x86/Kconfig": {Data: []byte(`
config 64BIT
	bool "64-bit kernel"
	default y

config X86
	def_bool y
	select CRC32
	select HAS_IOMEM if 64BIT && !X86_SPARE
`)},
		"drivers/Kconfig": {Data: []byte(`
menu "Device Drivers"

menuconfig PCI
	bool "PCI support"
	help
	  Some text with keywords:
	  config NOT_AN_OPTION

	  endmenu

if PCI

config ENIC
	tristate "Cisco \
VIC"
	depends on INET && (X86 || COMPILE_TEST)
	depends on !BROKEN && SPEED != 3
	select LIBFC

config EXPERT_NIC
	tristate "Expert NIC" if EXPERT
	depends on $(cc-option,-mfoo)

rsource "sub/Kconfig"
endif # PCI
endmenu

config LIBFC
	tristate
	select CRC32

config INET
	bool "TCP/IP"

config MOST
	int
	default 25

config SHIFT
	int "Shift"
	range 12 20 if EXPERT
	range 14 MOST

config START
	hex "Start"
	range 0x1000 0xffff

config FC_DISK
	tristate "Disk"
	depends on SCSI

config CRC32
	tristate

config EXPERT
	bool "Expert"

choice
	prompt "Timer"
	default HZ_250
config HZ_250
	bool "250 Hz"
config HZ_1000
	bool "1000 Hz"
endchoice
`)},
		"drivers/sub/Kconfig": {Data: []byte("config SUB\n\tbool \"Sub\"\n\tdepends on INET=y\n---help---\n  x\nconfig SCSI\n tristate 'SCSI'\nconfig FC\n\ttristate \"FC\"\n\tdepends on SCSI\n")},
	}
}

func readTree(files fstest.MapFS, arch string) (*Tree, error) { return ReadTree(files.ReadFile, arch) }

func TestExplain(t *testing.T) {
	tree, err := ReadTree(files().ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	if tree.Symbols["NOT_AN_OPTION"] != nil {
		t.Error("a help text was read as options")
	}
	for _, c := range []struct{ config, ask, want string }{
		{"CONFIG_PCI=y\nCONFIG_INET=y\nCONFIG_X86=y\nCONFIG_ENIC=m\n", "ENIC=m", ""},
		{"CONFIG_PCI=y\nCONFIG_X86=y\n", "ENIC=m", "CONFIG_ENIC=m (--set) is not set: it depends on CONFIG_INET (it is not set) (add --set CONFIG_INET=y)"},
		{"CONFIG_INET=y\n", "ENIC=m", "it depends on CONFIG_PCI (it is not set), and on CONFIG_X86 (it is not set), or CONFIG_COMPILE_TEST (it is not set)"},
		{"CONFIG_PCI=y\nCONFIG_INET=y\nCONFIG_X86=y\nCONFIG_BROKEN=y\n", "ENIC=y", "CONFIG_BROKEN switched off (it is y)"},
		{"CONFIG_PCI=y\nCONFIG_INET=y\nCONFIG_X86=y\nCONFIG_SPEED=3\n", "ENIC=y", "CONFIG_SPEED != 3 (it is 3)"},
		{"CONFIG_PCI=y\nCONFIG_SCSI=m\nCONFIG_FC=m\n", "FC=y", "CONFIG_FC=y (--set) is m: it depends on CONFIG_SCSI=y (it is m) (add --set CONFIG_SCSI=y)"},
		{"CONFIG_PCI=y\nCONFIG_ENIC=y\nCONFIG_LIBFC=y\n", "LIBFC=n", "it is selected by CONFIG_ENIC; switch that off too"},
		{"", "LIBFC=m", "it cannot be set, it follows from other options: it is selected by CONFIG_ENIC"},
		{"CONFIG_PCI=y\n", "EXPERT_NIC=m", "it depends on CONFIG_EXPERT (it is not set) (add --set CONFIG_EXPERT=y)"},
		{"CONFIG_HZ_250=y\n", "HZ_1000=y", "CONFIG_HZ_250 of the same choice is on"},
		{"CONFIG_INET=y\n", "INET=m", "cannot be a module; use y or n"},
		{"CONFIG_MOST=25\nCONFIG_SHIFT=25\n", "SHIFT=30", "CONFIG_SHIFT=30 (--set) is 25: it accepts numbers from 14 to 25"},
		{"CONFIG_EXPERT=y\nCONFIG_SHIFT=20\n", "SHIFT=21", "it accepts numbers from 12 to 20"},
		{"CONFIG_START=0x1000\n", "START=0x10", "it accepts numbers from 0x1000 to 0xffff"},
		{"CONFIG_PCI=y\n", "FC_DISK=m", "it depends on CONFIG_SCSI (it is not set) (add --set CONFIG_SCSI=m or =y)"},
		{"", "ENICC=y", "no such option; did you mean CONFIG_ENIC?"},
		{"", "NOTHING_LIKE_IT=y", "this kernel has no such option"},
		{"CONFIG_PCI=y\n", "SUB=y", "CONFIG_INET = y (it is not set)"},
		{"CONFIG_64BIT=y\nCONFIG_X86=y\nCONFIG_INET=y\n", "INET=n", "see drivers/Kconfig:"},
	} {
		request, err := ParseSet(c.ask)
		if err != nil {
			t.Fatal(err)
		}
		err = Check([]Request{request}, parse(t, c.config), tree)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s with %q: %v", c.ask, c.config, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s with %q:\n%v\nit should say\n%s", c.ask, c.config, err, c.want)
		}
		var unmet *UnmetError
		if err != nil && (!errors.As(err, &unmet) || len(unmet.Reasons) != 1 || fault.KindOf(err) != fault.Invalid) {
			t.Errorf("%s: the error is no UnmetError about one option: %v", c.ask, err)
		}
	}
}

// TestLost: of a file's lines, only those that the source did not accept are
// named.
func TestLost(t *testing.T) {
	tree, err := ReadTree(files().ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	file := parse(t, "CONFIG_INET=y\n# CONFIG_OLD is not set\nCONFIG_RENAMED=y\nCONFIG_LIBFC=m\nCONFIG_PCI=y\nCONFIG_SHIFT=99\n")
	got := tree.Lost(file.Requests("the file"), parse(t, "CONFIG_INET=y\nCONFIG_SHIFT=14\nCONFIG_MOST=25\n"))
	want := []string{"CONFIG_RENAMED=y (the file, line 3) did not take effect: this kernel has no such option", "CONFIG_PCI=y (the file, line 5) is not set", "CONFIG_SHIFT=99 (the file, line 6) is 14"}
	if len(got) != len(want) {
		t.Fatalf("the lost lines are %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d is explained by %q, want %q", i, got[i], want[i])
		}
	}
}

// TestUnmetLines: the error has a line for each option.
func TestUnmetLines(t *testing.T) {
	tree := &Tree{}
	err := Check([]Request{{"CONFIG_A", "y", "a"}, {"CONFIG_B", "y", "b"}}, newConfig(), tree)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("the error is %v", err)
	}
}

func TestOnlyLastRequestCounts(t *testing.T) {
	tree, err := ReadTree(files().ReadFile, "x86")
	if err != nil {
		t.Fatal(err)
	}
	asked := []Request{{"CONFIG_PCI", "y", "a"}, {"CONFIG_PCI", "n", "b"}}
	if err := Check(asked, parse(t, ""), tree); err != nil {
		t.Errorf("the later request was met, yet: %v", err)
	}
}

func TestBadTrees(t *testing.T) {
	for text, want := range map[string]string{
		"config A\n\tdepends on (B\n":           "Kconfig, line 2",
		"endmenu\n":                             "closes no menu",
		"source \"nowhere/Kconfig\"\n":          "nowhere/Kconfig",
		"source \"Kconfig\"\n":                  "included more than",
		"if " + strings.Repeat("(", 300) + "\n": "nested more than",
		"config A\n\tbool \"open\n":             "not closed",
	} {
		_, err := readTree(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "x86")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q gives %v; it should say %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(strings.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		again, err := Parse(strings.NewReader(string(Merge(nil, c.Requests("fuzz")))), "again")
		if err != nil || len(Diff(c, again)) > 0 {
			t.Errorf("written and read again, %q differs: %v, %v", text, Diff(c, again), err)
		}
	})
}

func FuzzTree(f *testing.F) {
	for _, file := range files() {
		f.Add(string(file.Data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := readTree(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "x86")
		if err != nil {
			return
		}
		empty := newConfig()
		for name := range tree.Symbols {
			tree.explain(Request{Prefix + name, "y", "fuzz"}, empty)
		}
	})
}
