package main

import "slices"

// interruption returns what is said of a command that a signal ended: what stays of
// its work.
func (a *app) interruption() string {
	if a.wrote {
		return "interrupted; the artifacts that were written before stay"
	}
	switch command := a.command(); {
	case command == "init":
		return "interrupted; no file was written"
	case slices.Contains(makers(), command):
		return "interrupted; downloads stay in the cache, and no artifact was changed"
	case slices.Contains(fetchers(), command):
		return "interrupted; downloads stay in the cache"
	}
	return "interrupted"
}

// makers returns the commands that download inputs and write artifacts.
func makers() []string {
	return []string{"all", "qemu", "linuxkit", "embed", "kernel", "kernel-config", "kernel-config-shell", "containers", "pull"}
}

// fetchers returns the other commands that keep what they download in the cache.
func fetchers() []string {
	return []string{"images", "plan", "matrix", "lock", "kit save", "inspect"}
}
