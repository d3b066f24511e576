// Package chain tests the complete network boot of a machine without a disk:
// firmware, a real server with the generated DHCP configuration, iPXE, the script,
// kernel and initramfs. It has only tests.
//
// By default go test tries one combination, with a stand-in for HookOS. With -tags
// e2e it tries every server, BIOS, UEFI PXE, UEFI HTTP boot and proxies, and boots a
// HookOS that hookbuild itself has built.
package chain
