package modules

import "slices"

// IsFree reports whether the kernel takes a license for compatible with its own.
// A module with any other license taints it as proprietary. The list is that of
// linux/license.h.
func IsFree(license string) bool {
	return slices.Contains([]string{
		"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
	}, license)
}
