#!/bin/sh
# Applies /job/defconfig, then /job/requests on top of it or whatever the user
# does in a menu or a shell (INTERACTIVE), and gives both configurations, the
# new defconfig and the Kconfig files that explain them.
# shellcheck source=kernel/container/files/common.sh
. /job/common.sh
changing_objects

rm -f /obj/hookbuild.stamp
cp /job/defconfig /obj/.config
mk olddefconfig
cp /obj/.config /job/out/before.config
case "${INTERACTIVE:-}" in
menuconfig)
    make --no-print-directory -C /src/linux O=/obj menuconfig
    ;;
shell)
    echo "The configuration is in /obj/.config, the source in /src/linux."
    echo "Run 'make menuconfig' here, or edit .config; leave with 'exit'."
    (cd /obj && bash) || true
    ;;
*)
    cat /job/requests >> /obj/.config
    ;;
esac
mk olddefconfig
cp /obj/.config /job/out/after.config
mk savedefconfig
cp /obj/defconfig /job/out/defconfig
pack_kconfig
