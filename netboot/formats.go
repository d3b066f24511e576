package netboot

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// vlanCode is the sub-option of option 43 from which Tinkerbell's iPXE reads the
// VLAN (its embedded script: ${43.116:string}).
const vlanCode = 116

// VLANOption returns option 43 with a VLAN's number in sub-option 116. The number
// is text of at most four digits.
func VLANOption(id string) []byte {
	return append([]byte{vlanCode, byte(len(id))}, id...)
}

// ParseVLANOption returns sub-option 116 of option 43, or "" if it is not there.
func ParseVLANOption(raw []byte) string {
	for len(raw) >= 2 && len(raw) >= 2+int(raw[1]) {
		value := raw[2 : 2+int(raw[1])]
		if raw[0] == vlanCode {
			return string(value)
		}
		raw = raw[2+len(value):]
	}
	return ""
}

// ParseVLANHex is [ParseVLANOption] for bytes that are written in hex, with or
// without colons.
func ParseVLANHex(text string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		return ""
	}
	return ParseVLANOption(raw)
}

// JoinAddrs returns the addresses as text, with a separator between them.
func JoinAddrs(list []netip.Addr, separator string) string {
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return strings.Join(text, separator)
}

// ParseAddrs returns the addresses in list. It skips text that is not an address.
func ParseAddrs(list []string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range list {
		if a, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// MaskBits returns the length of a netmask, or 0 for an address that is not one.
func MaskBits(mask netip.Addr) int {
	b := mask.As4()
	ones, size := net.IPMask(b[:]).Size()
	if size == 0 {
		return 0
	}
	return ones
}

// Mask returns a network's netmask, as "255.255.255.0".
func Mask(n netip.Prefix) string { return net.IP(net.CIDRMask(n.Bits(), 32)).String() }

// HexColons returns bytes as "74:03:31".
func HexColons(raw []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", raw), " ", ":")
}
