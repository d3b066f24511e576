package flavor

// Bootable is a kind of boot medium (SD card, USB stick) that upstream builds
// for a flavor.
type Bootable struct {
	ID string
	// Flavor is the id of the flavor on the medium.
	Flavor string
	// Tags select bootables in CI, independently of their flavors' tags.
	Tags []string
	// Boards are the machines that it is built for, one medium each.
	Boards []Board
}

// Board is a machine that a medium is built for.
type Board struct {
	ID string
	// Options are upstream's options for the build of the boot loader.
	Options string
}

// Bootables returns upstream's inventory of boot media, in its order.
func Bootables() []Bootable {
	return []Bootable{
		grub("grub-amd64", "hook-default-amd64", "standard"),
		grub("grub-arm64", "hook-default-arm64", "standard"),
		grub("grub-latest-lts-amd64", "hook-latest-lts-amd64", "lts"),
		grub("grub-latest-lts-arm64", "hook-latest-lts-arm64", "lts"),
		uboot("uboot-aml", "armbian-meson64-edge", "edge", "odroidhc4", "khadas-vim3"),
		{ID: "rpi", Flavor: "armbian-bcm2711-current", Tags: []string{"armbian-sbc"}, Boards: []Board{{"rpi", unused}}},
		uboot("uboot-rk", "armbian-rockchip64-edge", "edge", "odroidm1", "quartz64a", "rockpro64", "nanopct6", "cm3588-nas"),
		{ID: "uboot-rk35xx-vendor", Flavor: "armbian-rk35xx-vendor", Tags: []string{"armbian-sbc"}, Boards: []Board{
			{"r58x", "BOARD=mekotronics-r58x-pro BRANCH=vendor"}, {"blade3", "BOARD=mixtile-blade3 BRANCH=vendor"},
		}},
		grub("grub-armbian-uefi-arm64", "armbian-uefi-arm64-edge", "standard"),
		grub("grub-armbian-uefi-amd64", "armbian-uefi-x86-edge", "standard"),
	}
}

// unused is the value of Options for a board without options.
const unused = "NOT=used"

// grub returns a medium for every UEFI machine.
func grub(id, flavor, tag string) Bootable {
	return Bootable{ID: id, Flavor: flavor, Tags: []string{tag}, Boards: []Board{{id + "-generic", unused}}}
}

// uboot returns a medium with Armbian's boot loader for each of the boards.
func uboot(id, flavor, branch string, boards ...string) Bootable {
	b := Bootable{ID: id, Flavor: flavor, Tags: []string{"armbian-sbc"}}
	for _, board := range boards {
		b.Boards = append(b.Boards, Board{board, "BOARD=" + board + " BRANCH=" + branch})
	}
	return b
}
