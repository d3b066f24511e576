package windows

import "hookbuild/netboot"

// Parse implements [netboot.Server].
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	return nil, nil
}
