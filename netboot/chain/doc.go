// Package chain holds the proof of the whole way of a machine without a disk:
// firmware, the generated DHCP configuration in a real server, iPXE, the
// script, kernel and initramfs. It has tests only.
package chain
