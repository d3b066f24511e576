package embed

import (
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

func TestParseLayout(t *testing.T) {
	for _, name := range []string{"packed", "directory", "auto"} {
		if l, err := ParseLayout(name); err != nil || string(l) != name {
			t.Errorf("ParseLayout(%q) = %q, %v", name, l, err)
		}
	}
	for _, name := range []string{"", "Packed", "squashfs"} {
		if l, err := ParseLayout(name); err == nil || fault.KindOf(err) != fault.Usage {
			t.Errorf("ParseLayout(%q) = %q, %v", name, l, err)
		}
	}
}

func TestChooseLayout(t *testing.T) {
	debian := Capabilities{Squashfs: Module, Loop: Module, Overlay: Module, SquashfsXattr: true, SquashfsGzip: true, SquashfsXZ: true, SquashfsZstd: true}
	without := func(change func(*Capabilities)) Capabilities {
		c := debian
		change(&c)
		return c
	}
	for title, test := range map[string]struct {
		ask    Layout
		kernel Capabilities
		want   Layout
		lacks  string
	}{
		"packed on an unknown kernel":  {Packed, Capabilities{}, Packed, ""},
		"nothing asked for":            {"", debian, Packed, ""},
		"modules":                      {Auto, debian, Packed, ""},
		"directory":                    {Directory, debian, Directory, ""},
		"no squashfs":                  {Packed, without(func(c *Capabilities) { c.Squashfs = Missing }), "", "CONFIG_SQUASHFS"},
		"no loop":                      {Packed, without(func(c *Capabilities) { c.Loop = Missing }), "", "CONFIG_BLK_DEV_LOOP"},
		"no xattrs in squashfs":        {Packed, without(func(c *Capabilities) { c.SquashfsXattr = false }), Packed, ""},
		"no loop, but directories do":  {Auto, without(func(c *Capabilities) { c.Loop = Missing }), Directory, ""},
		"no decompressor":              {Packed, without(func(c *Capabilities) { c.SquashfsGzip, c.SquashfsXZ, c.SquashfsZstd = false, false, false }), "", "CONFIG_SQUASHFS_ZLIB"},
		"no overlay":                   {Directory, without(func(c *Capabilities) { c.Overlay = Missing }), "", "CONFIG_OVERLAY_FS"},
		"no overlay, whatever is left": {Auto, without(func(c *Capabilities) { c.Overlay = Missing }), "", "CONFIG_OVERLAY_FS"},
	} {
		t.Run(title, func(t *testing.T) {
			got, _, err := chooseLayout(Options{Layout: test.ask, Kernel: test.kernel})
			if got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			if test.lacks == "" && err != nil || test.lacks != "" && (err == nil || !strings.Contains(err.Error(), test.lacks) || fault.KindOf(err) != fault.Invalid) {
				t.Errorf("got the error %v, want one about %q", err, test.lacks)
			}
		})
	}
}
