package devices

import (
	"slices"
	"strings"

	"hookbuild/kernel"
	"hookbuild/kernel/kconfig"
)

// Companion is an option that a driver needs beside its own, so that a device
// becomes a network interface or a disk. Kconfig does not say so: a kernel can have
// the driver without it.
type Companion struct {
	Setting kconfig.Setting
	// For says what it adds.
	For string

	modules []string // the modules that show it; one is enough
	alias   string   // the alias of the driver's own module that shows it
	since   string   // the kernel from which on the alias is there
	fits    func(Device) bool
	usual   bool // every HookOS has it
}

// companions are by the driver's module. The table of drivers has the options that
// they depend on.
var companions = map[string][]Companion{
	"mlx4_core": {{Setting: kconfig.Setting{Option: "CONFIG_MLX4_EN", Value: "m"}, For: "its Ethernet interfaces", modules: []string{"mlx4_en"}}},
	"mlx5_core": {{Setting: kconfig.Setting{Option: "CONFIG_MLX5_CORE_EN", Value: "y"}, For: "its Ethernet interfaces", alias: "auxiliary:mlx5_core.eth", since: "5.11"}},
	"hns3":      {{Setting: kconfig.Setting{Option: "CONFIG_HNS3_HCLGE", Value: "m"}, For: "its hardware layer", modules: []string{"hclge"}}},
	"iwlwifi":   {{Setting: kconfig.Setting{Option: "CONFIG_IWLMVM", Value: "m"}, For: "its firmware's interface", modules: []string{"iwlmvm", "iwldvm", "iwlmld"}}},
	"vmd":       {{Setting: kconfig.Setting{Option: "CONFIG_BLK_DEV_NVME", Value: "m"}, For: "the NVMe disks behind it", modules: []string{"nvme"}}},
	"brcmfmac": {
		{Setting: kconfig.Setting{Option: "CONFIG_BRCMFMAC_PCIE", Value: "y"}, For: "cards on PCI", alias: "pci:", since: "4.0", fits: bus("pci")},
		{Setting: kconfig.Setting{Option: "CONFIG_BRCMFMAC_USB", Value: "y"}, For: "adapters on USB", alias: "usb:", since: "4.0", fits: bus("usb")},
	},
	"virtio_pci": {
		{Setting: kconfig.Setting{Option: "CONFIG_VIRTIO_NET", Value: "m"}, For: "its network interface", modules: []string{"virtio_net"}, fits: product(0x1000, 0x1041)},
		{Setting: kconfig.Setting{Option: "CONFIG_VIRTIO_BLK", Value: "m"}, For: "its disk", modules: []string{"virtio_blk"}, fits: product(0x1001, 0x1042)},
		{Setting: kconfig.Setting{Option: "CONFIG_SCSI_VIRTIO", Value: "m"}, For: "its disks", modules: []string{"virtio_scsi"}, fits: product(0x1004, 0x1048)},
	},
}

// disks is the companion of drivers for SCSI and ATA controllers.
var disks = Companion{Setting: kconfig.Setting{Option: "CONFIG_BLK_DEV_SD", Value: "m"}, For: "SCSI and ATA disks", modules: []string{"sd_mod"}, usual: true}

func product(ids ...int) func(Device) bool {
	return func(d Device) bool { return slices.Contains(ids, d.Product) }
}

func bus(name string) func(Device) bool {
	return func(d Device) bool { return d.Bus == name }
}

// companionsOf returns all companions of a driver, and disks.
func companionsOf(module string) []Companion {
	return append(slices.Clone(companions[module]), disks)
}

// Companions returns the companions of a driver for all its devices, for package gen.
func Companions(module string) (list []Companion) {
	for _, c := range companions[module] {
		if c.fits == nil {
			list = append(list, c)
		}
	}
	return list
}

// companionsFor returns the companions of a driver for a device. Disks go with the
// drivers that depend on SCSI or ATA.
func companionsFor(d Device, module string, settings []kconfig.Setting) (list []Companion) {
	for _, c := range companions[module] {
		if c.fits == nil || c.fits(d) {
			list = append(list, c)
		}
	}
	scsi := slices.ContainsFunc(settings, func(s kconfig.Setting) bool { return s.Option == "CONFIG_SCSI" || s.Option == "CONFIG_ATA" })
	if scsi && (high(d.Class) == 0x01 || d.Class == 0x0c04) {
		list = append(list, disks)
	}
	return list
}

// settingsFor returns what has to be set for a driver of a device, with its companions.
func (in *Inventory) settingsFor(d Device, known *Known) ([]kconfig.Setting, []Companion, error) {
	all, err := in.Table.settings(known, in.Release)
	if err != nil {
		return nil, nil, err
	}
	with := companionsFor(d, known.Module, all)
	for _, c := range with {
		named := func(s kconfig.Setting) bool { return s.Option == c.Setting.Option }
		if len(all) > 0 && !slices.ContainsFunc(all, named) && (!c.usual || in.config() != nil) {
			all = append(all, c.Setting)
		}
	}
	return all, with, nil
}

// config returns the configuration to compare with, or nil.
func (in *Inventory) config() *kconfig.Config {
	if in.Features != nil && in.Features.Config != nil {
		return in.Features.Config
	}
	return in.Defconfig
}

// lacking returns those of the settings that the configuration does not have. If there
// is no configuration, it omits the options that are expected to be on.
func (in *Inventory) lacking(all []kconfig.Setting) (list []string) {
	config := in.config()
	for _, s := range all {
		lacks := !s.Expected()
		if config != nil {
			value, mentioned := config.Get(s.Option)
			lacks = value != "y" && (value != "m" || s.Value == "y") && (mentioned || in.offUnmentioned(s, all[0]))
		}
		if lacks {
			list = append(list, s.Option+"="+s.Value)
		}
	}
	return list
}

// offUnmentioned reports whether a setting may be off that the configuration does not
// mention. A kernel's own configuration mentions the driver's option if what that
// depends on is on. In one to build from, a usual option may be on because others select
// it: to set it is harmless unless it would become a module.
func (in *Inventory) offUnmentioned(s, driver kconfig.Setting) bool {
	if in.config() == in.Defconfig {
		return !s.Expected() || s.Usual && s.Value == "y"
	}
	_, mentioned := in.config().Get(driver.Option)
	return !s.Expected() || !mentioned
}

// companion returns whether the kernel has a companion of a driver that it has, and the
// reason if that is not known or says more.
func (in *Inventory) companion(c Companion, module string) (kernel.State, string) {
	if slices.ContainsFunc(c.modules, func(name string) bool { state, _ := in.state(name, ""); return state.Present() }) {
		return kernel.Module, ""
	}
	aliases, listed := in.aliases(module)
	if c.alias != "" && slices.ContainsFunc(aliases, func(text string) bool { return strings.HasPrefix(text, c.alias) }) {
		return kernel.Module, ""
	}
	if in.Features != nil && in.Features.Config != nil {
		state := in.Features.Option(c.Setting.Option)
		if state == kernel.Module && len(c.modules) > 0 {
			return in.stateByOption(c.Setting.Option)
		}
		return state, ""
	}
	if c.alias != "" {
		if !listed || slices.Compare(seriesSlice(in.Release), seriesSlice(c.since)) < 0 {
			return kernel.Unknown, "not known, because the kernel carries no configuration"
		}
		return kernel.Missing, ""
	}
	return in.state(c.modules[0], "")
}

// aliases returns the aliases of a module, and whether the kernel's files list them.
func (in *Inventory) aliases(module string) ([]string, bool) {
	if in.Modules == nil {
		return nil, false
	}
	if m, ok := in.Modules.Lookup(module); ok {
		return m.Aliases, len(m.Aliases) > 0
	}
	all := in.Modules.BuiltinValues(module, "alias")
	return all, len(all) > 0
}
