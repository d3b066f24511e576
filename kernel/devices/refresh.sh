#!/bin/sh
# Makes kernel/devices/table.zst anew from Debian's current kernel. It runs on
# Debian, as anyone, from the root of this repository.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
image=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p')
source=$(apt-cache depends linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)$/\1/p')
(cd "$dir" && apt-get download "$image" "$source")
dpkg-deb -x "$dir/$source"_*.deb "$dir/source"
go run ./kernel/devices/gen "$dir/$image"_*.deb "$dir/source/usr/src/$source.tar.xz" kernel/devices/table.zst
