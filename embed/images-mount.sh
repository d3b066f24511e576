#!/bin/sh
# Mounts the Docker images that this system carries where hook-docker looks for
# them, /run/images. Whatever goes wrong, the boot goes on: without the images
# Docker starts with an empty store and pulls what it is asked for.

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

store=/etc/embedded-images
place=/run/images

say() {
	echo "embedded images: $*"
}

# give_up REASON: leaves no half-mounted store behind.
give_up() {
	if [ -n "$mounted" ]; then
		umount "$place" 2>/dev/null || umount -l "$place" 2>/dev/null
	fi
	say "not available: $*"
	exit 0
}

# reason FILE: the last line that a program wrote there, for the console.
reason() {
	tail -n 1 "$1" 2>/dev/null
}

# has_fs NAME: says if the kernel has that file system now.
has_fs() {
	while read -r first second; do
		[ "${second:-$first}" = "$1" ] && return 0
	done </proc/filesystems
	return 1
}

# mount_layers: in the packed layout the layers are one squashfs file.
mount_layers() {
	[ -e "$place/layers.squashfs" ] || return 0
	[ -d /sys/module/loop ] || modprobe loop 2>/dev/null
	has_fs overlay || modprobe overlay 2>/dev/null
	has_fs squashfs || modprobe squashfs 2>/dev/null
	has_fs squashfs || give_up "this kernel has no squashfs"
	mount -t squashfs -o loop,ro "$place/layers.squashfs" "$place/layers" 2>"$log" ||
		give_up "mounting layers.squashfs: $(reason "$log")"
}

# work_through LIST: sets one sort of what booting has lost right again.
work_through() {
	case $1 in
	*.tar.gz) tar -x -z -f "$1" -C "$place" ;;
	*-xattrs) (cd "$place" && setfattr -h --restore="$1") ;;
	*) false ;;
	esac
}

# repair: in the directory layout booting has lost what an initramfs cannot
# carry. The lists are in the order of their names.
repair() {
	[ -d "$place/repair" ] || return 0
	for list in "$place"/repair/*; do
		# busybox tar goes on after a file that it "can't create".
		if ! work_through "$list" 2>"$log" || grep -q "can't" "$log"; then
			wrong="${list##*/}: $(reason "$log")"
		fi
	done
	rm -rf "$place/repair"
}

[ -d "$store" ] || {
	say "none on board"
	exit 0
}
mounted=''
wrong=''
log=/run/embedded-images.log
mkdir -p "$place" || give_up "making $place"
if [ -d "$place/overlay2" ]; then
	say "already in $place"
	exit 0
fi
mount -o bind "$store" "$place" 2>"$log" || give_up "mounting $store: $(reason "$log")"
mounted=yes
# LinuxKit has made / read-only by now, and a bind takes that over.
mount -o remount,rw "$place" 2>"$log" || give_up "making $place writable: $(reason "$log")"
mount_layers
repair
set -- "$place"/image/overlay2/imagedb/content/sha256/*
[ -e "$1" ] || shift
if [ -n "$wrong" ]; then
	say "$# in $place, but not all as they were: $wrong"
else
	say "$# in $place"
fi
rm -f "$log"
exit 0
