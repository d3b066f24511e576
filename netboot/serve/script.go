package serve

import (
	"cmp"
	"fmt"
	"strings"

	"hookbuild/netboot/hardware"
)

// ipxeScript returns auto.ipxe for a machine. For an unknown machine iPXE inserts
// the MAC. IPXE chooses the architecture, and retries until the network is up.
func (s *server) ipxeScript(m hardware.Machine, known bool) string {
	mac := "${mac}"
	if known {
		mac = m.MAC.String()
	}
	return fmt.Sprintf(`#!ipxe
echo HookOS from %[1]s
set syslog %[2]s
set arch x86_64
iseq ${buildarch} arm64 && set arch aarch64 ||
set tries:int32 0
:load
imgfree
kernel %[1]s/vmlinuz-${arch} %[3]s || goto again
initrd %[1]s/initramfs-${arch} || goto again
boot ||
:again
inc tries
iseq ${tries} 5 && goto failed ||
echo Trying again in 3 seconds
sleep 3
goto load
:failed
echo HookOS cannot be loaded from %[1]s
sleep 10
exit 1
`, s.artifactURL(), s.Plan.Address, s.kernelLine(mac, m))
}

func (s *server) artifactURL() string {
	base := strings.TrimSuffix(s.Plan.BinaryURL, s.binaryPath())
	return base + strings.TrimSuffix(artifactPath, "/")
}

// kernelLine returns the kernel's arguments: those of Tinkerbell's own script, in
// its order, then EKS Anywhere's agent and the arguments of [Options]' Cmdline.
func (s *server) kernelLine(mac string, m hardware.Machine) string {
	host := s.Plan.Address.String()
	var words []string
	if m.VLAN != 0 {
		words = append(words, fmt.Sprintf("vlan_id=%d", m.VLAN))
	}
	words = append(words,
		"facility=onprem", "syslog_host="+host, "grpc_authority="+cmp.Or(s.GRPC, host+":42113"),
		"tinkerbell_tls=false", "tinkerbell_insecure_tls=true", "worker_id="+mac, "hw_addr="+mac,
		"modules=loop,squashfs,sd-mod,usb-storage", "intel_iommu=on", "iommu=pt", "initrd=initramfs-${arch}",
		"console=tty0", "console="+cmp.Or(s.Console, "ttyS1,115200"), "tink_worker_image=127.0.0.1/embedded/tink-worker:latest")
	if s.Cmdline != "" {
		words = append(words, s.Cmdline)
	}
	return strings.Join(words, " ")
}
