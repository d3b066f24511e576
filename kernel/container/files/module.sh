#!/bin/sh
# Builds the module source in /job/source against the kernel in KERNEL_BUILD and
# puts the modules into /job/out. KERNEL_SOURCE is that kernel's source, RELEASE
# its release and MACHINE its architecture. What the source wants to run (its
# Makefile, its dkms.conf) runs without privileges, so that it can change neither
# the kernel nor the caches.
# shellcheck source=kernel/container/files/common.sh
. /job/common.sh

fail() {
    say "$*"
    exit 1
}

if [ -e /obj/hookbuild.running ]; then
    fail "a build of this flavor was killed meanwhile; run this again"
fi
if [ -f /job/stamp ] && ! cmp -s /job/stamp /obj/hookbuild.stamp; then
    fail "another hookbuild compiled this flavor in another configuration meanwhile; run this again"
fi
for program in setpriv bash find; do
    command -v "$program" > /dev/null || fail "the builder image lacks the program $program, without which no module sources are built"
done
[ -f "$KERNEL_BUILD/.config" ] || fail "the kernel's headers have no file .config"
grep -q '^CONFIG_MODULES=y' "$KERNEL_BUILD/.config" || fail "the kernel cannot load modules: its configuration lacks CONFIG_MODULES"
code=0
"$KERNEL_BUILD/scripts/basic/fixdep" > /dev/null 2>&1 || code=$?
case $code in
126 | 127) fail "scripts/basic/fixdep of the kernel's headers is not there or does not run in the builder image; it may be of another architecture, or need the C library of another distribution (--builder-base or --builder-image chooses that)" ;;
esac

# Distributions keep what all their kernels share in a directory of its own.
if [ ! -e "$KERNEL_SOURCE/include/linux/kernel.h" ]; then
    for directory in /usr/src/linux-headers-*; do
        if [ -e "$directory/include/linux/kernel.h" ]; then KERNEL_SOURCE=$directory; fi
    done
fi

# Makefiles find the kernel by uname -r and the links in /lib/modules.
mkdir -p "/lib/modules/$RELEASE" /job/bin /job/result /job/dkms /ccache/modules
ln -sfn "$KERNEL_BUILD" "/lib/modules/$RELEASE/build"
ln -sfn "$KERNEL_SOURCE" "/lib/modules/$RELEASE/source"
cat > /job/bin/uname << END
#!/bin/sh
case "\$*" in
-r) echo "$RELEASE" ;;
-m | -p | -i) echo "$MACHINE" ;;
-a) echo "Linux hookbuild $RELEASE #1 SMP $MACHINE GNU/Linux" ;;
*) exec $(command -v uname) "\$@" ;;
esac
END

# Distributions' headers insist on their compiler, such as gcc-12.
real=$(command -v "${CROSS_COMPILE}gcc")
version=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="[^ ]*gcc\(-[0-9.]*\) .*/\1/p' "$KERNEL_BUILD/.config")
for name in "${CROSS_COMPILE}gcc" ${version:+"${CROSS_COMPILE}gcc$version"}; do
    compiler=$(command -v "$name") || {
        compiler=$real
        say "the kernel was compiled by gcc$version, the module is compiled by $("$real" --version | head -n 1)"
    }
    printf '#!/bin/sh\nexec ccache %s "$@"\n' "$compiler" > "/job/bin/$name"
done
chmod 755 /job/bin/*

nobody=65534
chown -R "$nobody:$nobody" /job/source /job/result /job/dkms
chown "$nobody:$nobody" /ccache/modules
shell="sh"
if [ "$FORM" = dkms ]; then shell=bash; fi
HOME=/tmp CCACHE_DIR=/ccache/modules PATH="/job/bin:$PATH" \
    setpriv --reuid="$nobody" --regid="$nobody" --clear-groups --no-new-privs "$shell" /job/module-build.sh

option() { sed -n "s/^$1=//p" "$KERNEL_BUILD/.config" | tr -d '"'; }

for module in /job/result/*.ko; do
    if [ ! -f "$module" ] || [ -L "$module" ]; then
        fail "the build made no module (no file that ends in .ko)"
    fi
    to=/job/out/$(basename "$module")
    cp "$module" "$to"
    if [ -n "$STRIP" ]; then "${CROSS_COMPILE}strip" --strip-debug "$to"; fi
    # A kernel that signs its modules may load no others.
    if [ "$(option CONFIG_MODULE_SIG_ALL)" = y ] && [ -f "$KERNEL_BUILD/certs/signing_key.pem" ]; then
        "$KERNEL_BUILD/scripts/sign-file" "$(option CONFIG_MODULE_SIG_HASH)" \
            "$KERNEL_BUILD/certs/signing_key.pem" "$KERNEL_BUILD/certs/signing_key.x509" "$to"
    fi
done
cp /job/result/Module.symvers /job/out/
