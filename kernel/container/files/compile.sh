#!/bin/sh
# Compiles the kernel with /job/defconfig and puts the kernel image's files
# into /job/out.
# shellcheck source=kernel/container/files/common.sh
. /job/common.sh
changing_objects

# An unchanged .config is left alone: make would look at every file again.
if ! cmp -s /job/stamp /obj/hookbuild.stamp; then
    rm -f /obj/hookbuild.stamp
    cp /job/defconfig /obj/.config
    mk olddefconfig
    cp /job/stamp /obj/hookbuild.stamp
fi

# The Kconfig files explain lines of the configuration that the source did not
# take, if there are any.
if grep -vxF -f /obj/.config /job/defconfig | grep -q CONFIG_; then
    pack_kconfig
fi

on() { grep -q "^$1=y" /obj/.config; }

# tar ends with 1 when a directory's times change while it reads, which they do
# on a container's file system shortly after it was made.
pack() {
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --warning=no-file-changed "$@" || [ $? -eq 1 ]
}

targets=$KERNEL_TARGET
if on CONFIG_MODULES; then targets="$targets modules"; fi
if [ "$ARCH" = arm64 ] && on CONFIG_OF; then targets="$targets dtbs"; fi
say "compiling $targets with $JOBS jobs"
# shellcheck disable=SC2086 # the targets are words
make -C /src/linux O=/obj CC="ccache ${CROSS_COMPILE}gcc" -j"$JOBS" $targets

say "packing the result"
cp "/obj/$KERNEL_IMAGE" /job/out/kernel
cp /obj/System.map /obj/.config /job/out/
mv /job/out/.config /job/out/config
mkdir -p /job/modules /job/dtbs
if on CONFIG_MODULES; then
    mk -j"$JOBS" INSTALL_MOD_PATH=/job/modules INSTALL_MOD_STRIP="$STRIP" modules_install
    rm -f /job/modules/lib/modules/*/build /job/modules/lib/modules/*/source
fi
if [ "$ARCH" = arm64 ] && on CONFIG_OF; then
    mk -j"$JOBS" INSTALL_DTBS_PATH=/job/dtbs dtbs_install
fi
pack -C /job/modules -cf /job/out/kernel.tar .
pack -C /job/dtbs -cf - . | gzip -n > /job/out/dtbs.tar.gz
ccache --show-stats 2> /dev/null | grep -iE 'hits|misses' || true
