package embed

import (
	_ "embed"

	"hookbuild/internal/initramfs"
)

//go:embed images-mount.sh
var bootScript []byte

// script returns the file in /etc/init.d that LinuxKit runs before it starts
// the services: it repairs what booting broke and mounts the store where
// hook-docker looks for it. It serves both layouts.
func script() initramfs.Entry {
	e := initramfs.BytesFile(ScriptPath, bootScript, initramfs.Epoch())
	e.Mode, e.Origin = 0o755, "the image store"
	return e
}
