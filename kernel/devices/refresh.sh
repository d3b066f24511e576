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

# newest SUITE ARCHIVE... prints gen's arguments for the kernel that the suite
# installs by default: the version, the source, and the packages with the modules.
# A package that the mirror no longer has is reported and left out.
newest() {
	suite=$1 lists=$dir/$1
	shift
	mkdir -p "$lists/lists/partial" "$lists/cache"
	for archive; do echo "deb [signed-by=$keys] $mirror/$archive main"; done >"$lists/sources.list"
	apt="-oDir::State::Lists=$lists/lists -oDir::Cache=$lists/cache -oDir::Etc::SourceList=$lists/sources.list -oDir::Etc::SourceParts=/dev/null -oAPT::Architecture=amd64 -oAPT::Architectures=amd64,arm64"
	apt-get $apt update >&2
	image=$(image_for amd64)
	source=$(echo "$image" | sed 's/^linux-image-\([0-9]*\.[0-9]*\).*/linux-source-\1/')
	version=$(apt-cache $apt --no-all-versions show "$image:amd64" | sed -n 's/^Version: \([0-9.]*\).*/\1/p')
	(
		cd "$lists"
		apt-get $apt download "$source" >&2
		dpkg-deb -x "$source"_*.deb source
		for arch in amd64 arm64; do
			image=$(image_for "$arch")
			apt-get $apt download "$image:$arch" >&2 || echo "$suite has no $image for $arch" >&2
			# Since Linux 7.3 the image package only depends on others.
			for package in "linux-modules-${image#linux-image-}" "linux-base-${image#linux-image-}"; do
				if apt-cache $apt show "$package:$arch" >/dev/null 2>&1; then
					apt-get $apt download "$package:$arch" >&2
				fi
			done
		done
	)
	echo "$version $lists/source/usr/src/$source.tar.xz $(ls "$lists"/linux-image-*.deb "$lists"/linux-modules-*.deb "$lists"/linux-base-*.deb 2>/dev/null | tr '\n' ' ')"
}

# image_for ARCH prints the package of the kernel for an architecture.
image_for() {
	apt-cache $apt --no-all-versions show "linux-image-$1:$1" | sed -n 's/^Depends: .*\(linux-image-[^ ,]*\).*/\1/p'
}

backports=$(newest trixie-backports "debian trixie-backports")
trixie=$(newest trixie "debian trixie")
bookworm=$(newest bookworm "debian bookworm" "debian-security bookworm-security")
bullseye=$(newest bullseye "debian bullseye" "debian-security bullseye-security")
go run ./kernel/devices/gen $backports $trixie $bookworm $bullseye
