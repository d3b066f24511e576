#!/bin/sh
# Sourced by the other scripts. /src/linux is the kernel's source, /obj its
# objects, /ccache the compiler's cache; they are volumes. /job has what this
# run was given, and its results in /job/out. ARCH, CROSS_COMPILE, JOBS and the
# KBUILD_ variables are set for the container.
set -eu

say() { echo "hookbuild: $*"; }

mk() { make -s -C /src/linux O=/obj CC="ccache ${CROSS_COMPILE}gcc" "$@"; }

# The Kconfig files explain why an option did not take.
pack_kconfig() {
    (cd /src/linux && find . -type f -name 'Kconfig*' | LC_ALL=C sort | tar -cf /job/out/kconfig.tar -T -)
}

# changing_objects marks /obj while make works in it. A run that was killed leaves
# half a file, which make takes for a whole one, so all that such a run wrote is
# removed; ccache has most of it. /obj/used tells when the volume was used.
changing_objects() {
    if [ -e /obj/hookbuild.running ]; then
        say "the last run was killed: removing the objects that it wrote"
        find /obj -newer /obj/hookbuild.running ! -type d ! -path /obj/used -delete
    fi
    touch /obj/hookbuild.running
    trap 'rm -f /obj/hookbuild.running' EXIT
}

mkdir -p /job/out /obj
