// Package chain holds the proof of the whole way of a machine without a disk:
// firmware, the generated DHCP configuration in a real server, iPXE, the
// script, kernel and initramfs. It has tests only.
//
// go test tries one way with a stand-in for HookOS. With -tags e2e it tries
// every server, BIOS, UEFI PXE, UEFI HTTP boot and proxies, and boots a HookOS
// that hookbuild itself has built.
package chain
