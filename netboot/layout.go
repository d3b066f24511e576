package netboot

import (
	"fmt"
	"regexp"
	"strconv"
)

// Layout describes where a release of EKS Anywhere serves the files that machines
// load over the network.
type Layout struct {
	// HTTPPort is the port of scripts and programs.
	HTTPPort int
	// ScriptPath is the path of auto.ipxe. It may hold an iPXE setting, as in
	// "/ipxe/script/${mac}/auto.ipxe".
	ScriptPath string
	// BinaryPath is the directory of the iPXE programs over HTTP, with a slash
	// at the end.
	BinaryPath string
	// BIOS, EFI and ARM64 are the names of the iPXE programs.
	BIOS, EFI, ARM64 string
}

// LatestRelease is the newest minor release whose layout is known.
const LatestRelease = "v0.26"

// LayoutOf returns the layout of an EKS Anywhere version ("v0.26.1"). Known is
// false for a release that is newer than this program. The layout is then that of
// the newest known release, and has to be verified.
//
// Source: the Smee that each release's tag pins (aws/eks-anywhere,
// pkg/providers/tinkerbell/stack).
func LayoutOf(version string) (l Layout, known bool, err error) {
	m := regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})(\.\d+)?([-+].*)?$`).FindStringSubmatch(version)
	if m == nil {
		return Layout{}, false, fmt.Errorf("reading the EKS Anywhere version %q: write it as %s.1", version, LatestRelease)
	}
	major, minor := atoi(m[1]), atoi(m[2])
	l = Layout{HTTPPort: 7171, ScriptPath: "/ipxe/script/auto.ipxe", BinaryPath: "/ipxe/binary/", BIOS: "undionly.kpxe", EFI: "ipxe.efi", ARM64: "snp-arm64.efi"}
	if major > 0 || minor >= 25 {
		return l, major == 0 && minor <= 26, nil
	}
	l.ScriptPath, l.BinaryPath, l.ARM64 = "/auto.ipxe", "/ipxe/", "snp.efi"
	if minor < 22 {
		l.HTTPPort = 80
	}
	return l, true, nil
}

// atoi converts digits that a pattern has checked.
func atoi(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
