package main

import (
	"slices"

	"hookbuild/internal/progress"
)

// rootless returns the commands that write files of the user: to --out, the cache, the
// checkout or the current directory. The others write none, or may need root: a server
// for its port, dhcp for a server's configuration, cache for files that belong to root.
func rootless() []string {
	return []string{
		"all", "linuxkit", "kernel", "kernel-config", "kernel-config-shell", "containers", "embed", "extract-image", "lock", "plan", "images", "kit", "pull",
		"qemu", "sbom", "init", "inspect", "verify", "matrix", "doctor",
	}
}

// warnOfSudo warns if uid, the user whose command this is, is root by sudo.
func (a *app) warnOfSudo(uid int) {
	by := orDefault(a.getenv("SUDO_USER"), a.getenv("SUDO_UID"))
	if uid != 0 || by == "" || by == "root" || by == "0" || len(a.names) == 0 || !slices.Contains(rootless(), a.names[0]) {
		return
	}
	progress.Warnf(a.sink(), "hookbuild needs no root; with sudo, the files that it writes belong to root, and %s cannot replace them later", by)
}
