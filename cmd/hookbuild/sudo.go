package main

import (
	"slices"

	"hookbuild/internal/progress"
)

// rootless returns the commands that write to --out or the cache. Others may need root:
// a server for its port.
func rootless() []string {
	return []string{"all", "linuxkit", "kernel", "containers", "embed", "lock", "plan", "images", "kit", "pull"}
}

// warnOfSudo warns if uid, the user whose command this is, is root by sudo.
func (a *app) warnOfSudo(uid int) {
	by := orDefault(a.getenv("SUDO_USER"), a.getenv("SUDO_UID"))
	if uid != 0 || by == "" || by == "root" || by == "0" || len(a.names) == 0 || !slices.Contains(rootless(), a.names[0]) {
		return
	}
	progress.Warnf(a.sink(), "hookbuild needs no root; with sudo, the files in --out and the cache will belong to root, and %s cannot replace them later", by)
}
