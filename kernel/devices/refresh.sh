#!/bin/sh
# Rewrites kernel/devices/table.zst and kernel/kconfig/options.zst from the
# newest kernel of each Debian release that still has one, for amd64 and arm64.
# It runs on Debian, as any user, from the root of this repository. It does not
# change the machine's own package lists, and downloads about 1.3 GB.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
keys=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=${MIRROR:-http://deb.debian.org}

# newest SUITE ARCHIVE... prints gen's arguments: the version, the source, and
# the packages with the modules. A package that the mirror no longer has is
# reported and left out.
newest() {
	suite=$1 lists=$dir/$1
	shift
	mkdir -p "$lists/lists/partial" "$lists/cache"
	for archive; do echo "deb [signed-by=$keys] $mirror/$archive main"; done >"$lists/sources.list"
	apt="-oDir::State::Lists=$lists/lists -oDir::Cache=$lists/cache -oDir::Etc::SourceList=$lists/sources.list -oDir::Etc::SourceParts=/dev/null -oAPT::Architecture=amd64 -oAPT::Architectures=amd64,arm64"
	apt-get $apt update >&2
	source=$(apt-cache $apt search --names-only '^linux-source-[0-9]' | cut -d' ' -f1 | sort -V | tail -n1)
	version=$(apt-cache $apt show "$source" | sed -n 's/^Version: \([0-9.]*\).*/\1/p' | sort -V | tail -n1)
	(
		cd "$lists"
		apt-get $apt download "$source" >&2
		dpkg-deb -x "$source"_*.deb source
		for arch in amd64 arm64; do
			image=$(apt-cache $apt search --names-only "^linux-image-${source#linux-source-}[0-9.+a-z-]*-$arch\$" | cut -d' ' -f1 | grep -Ev 'cloud|rt|unsigned' | sort -V | tail -n1)
			# Since Linux 7.3 the image package only depends on others.
			for package in "$image" "linux-modules-${image#linux-image-}" "linux-base-${image#linux-image-}"; do
				apt-get $apt download "$package:$arch" >&2 || echo "$suite has no $package for $arch" >&2
			done
		done
	)
	echo "$version $lists/source/usr/src/$source.tar.xz $(ls "$lists"/linux-image-*.deb "$lists"/linux-modules-*.deb "$lists"/linux-base-*.deb 2>/dev/null | tr '\n' ' ')"
}

go run ./kernel/devices/gen \
	$(newest trixie-backports "debian trixie-backports") \
	$(newest trixie "debian trixie") \
	$(newest bookworm "debian bookworm" "debian-security bookworm-security") \
	$(newest bullseye "debian bullseye" "debian-security bullseye-security")
