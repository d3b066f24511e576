#!/bin/bash
# Builds the module source in /job/source/DIR as FORM says, and copies the
# modules to /job/result. It runs without privileges; in sh, unless FORM is dkms.
# /job/arguments has the user's arguments of make, quoted for the shell.
set -eu

fail() {
    echo "hookbuild: $*"
    exit 1
}

# keep FILE NAME keeps a module under a name.
keep() {
    if [ -e "/job/result/$2.ko" ]; then fail "the build made two modules called $2"; fi
    cp "$1" "/job/result/$2.ko"
}

keep_all() {
    find . -name '*.ko' -type f | LC_ALL=C sort > /tmp/modules
    while read -r file; do keep "$file" "$(basename "$file" .ko)"; done < /tmp/modules
}

# earlier A B reports whether the version A is B or an earlier one.
earlier() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# check_exclusive ends the build if dkms.conf is for other kernels.
check_exclusive() {
    excluded() { fail "its dkms.conf says that it is not for Linux $RELEASE on $MACHINE: $*"; }
    if [[ -n ${BUILD_EXCLUSIVE_KERNEL:-} && ! $RELEASE =~ $BUILD_EXCLUSIVE_KERNEL ]]; then
        excluded "BUILD_EXCLUSIVE_KERNEL=$BUILD_EXCLUSIVE_KERNEL"
    fi
    if [[ -n ${BUILD_EXCLUSIVE_ARCH:-} && ! $MACHINE =~ $BUILD_EXCLUSIVE_ARCH ]]; then
        excluded "BUILD_EXCLUSIVE_ARCH=$BUILD_EXCLUSIVE_ARCH"
    fi
    if [[ -n ${BUILD_EXCLUSIVE_KERNEL_MIN:-} ]] && ! earlier "$BUILD_EXCLUSIVE_KERNEL_MIN" "$RELEASE"; then
        excluded "BUILD_EXCLUSIVE_KERNEL_MIN=$BUILD_EXCLUSIVE_KERNEL_MIN"
    fi
    if [[ -n ${BUILD_EXCLUSIVE_KERNEL_MAX:-} ]] && ! earlier "$RELEASE" "$BUILD_EXCLUSIVE_KERNEL_MAX"; then
        excluded "BUILD_EXCLUSIVE_KERNEL_MAX=$BUILD_EXCLUSIVE_KERNEL_MAX"
    fi
    for option in ${BUILD_EXCLUSIVE_CONFIG:-}; do
        if grep -q "^${option#!}=[ym]" "$KERNEL_BUILD/.config"; then
            if [[ $option == !* ]]; then excluded "it needs a kernel without ${option#!}"; fi
        elif [[ $option != !* ]]; then
            excluded "it needs a kernel with $option"
        fi
    done
}

# apply_patches applies the patches that dkms.conf lists for this kernel.
apply_patches() {
    for i in "${!PATCH[@]}"; do
        if [[ -n ${PATCH_MATCH[i]:-} && ! $RELEASE =~ ${PATCH_MATCH[i]} ]]; then continue; fi
        command -v patch > /dev/null || fail "its dkms.conf lists the patch ${PATCH[i]}, and the builder image lacks the program patch; apply it with patch=FILE, or use a --builder-image that has the program"
        patch -p1 < "patches/${PATCH[i]}"
    done
}

# build_dkms does what dkms build does. The variables with small letters are
# those that dkms.conf may use.
# shellcheck disable=SC2034
build_dkms() {
    local build=$PWD kernelver=$RELEASE arch=$MACHINE kernel_source_dir=$KERNEL_BUILD
    local dkms_tree=/job/dkms source_tree=/job/dkms/src make_command i name file
    set +eu
    # shellcheck disable=SC1091
    . ./dkms.conf
    set -eu
    [ -n "${PACKAGE_NAME:-}" ] || fail "its dkms.conf sets no PACKAGE_NAME"
    check_exclusive
    mkdir -p "$dkms_tree/$PACKAGE_NAME/${PACKAGE_VERSION:-0}" "$source_tree"
    ln -sfn "$build" "$dkms_tree/$PACKAGE_NAME/${PACKAGE_VERSION:-0}/build"
    ln -sfn "$build" "$source_tree/$PACKAGE_NAME-${PACKAGE_VERSION:-0}"
    apply_patches
    make_command=${MAKE[0]:-"make -C $kernel_source_dir M=$build"}
    for i in "${!MAKE_MATCH[@]}"; do
        if [[ -n ${MAKE_MATCH[i]} && $RELEASE =~ ${MAKE_MATCH[i]} ]]; then make_command=${MAKE[i]}; fi
    done
    if [ -n "${PRE_BUILD:-}" ]; then (eval "./$PRE_BUILD"); fi
    (eval "${make_command/#make/make -j$JOBS KERNELRELEASE=$kernelver} $(cat /job/arguments)")
    if [ -n "${POST_BUILD:-}" ]; then (cd "$build" && eval "./$POST_BUILD"); fi
    cd "$build"
    if [ -z "${BUILT_MODULE_NAME[0]:-}" ]; then BUILT_MODULE_NAME[0]=$PACKAGE_NAME; fi
    for i in "${!BUILT_MODULE_NAME[@]}"; do
        name=${BUILT_MODULE_NAME[i]}
        file=./${BUILT_MODULE_LOCATION[i]:-}/$name.ko
        [ -f "$file" ] || fail "its dkms.conf announces the module $file, which the build did not make"
        keep "$file" "${DEST_MODULE_NAME[i]:-$name}"
    done
}

cd "/job/source/$DIR"
if [ -d /job/symvers ]; then
    # What the modules export that were built before this one.
    KBUILD_EXTRA_SYMBOLS=$(find /job/symvers -type f | LC_ALL=C sort | tr '\n' ' ')
    export KBUILD_EXTRA_SYMBOLS
fi
eval "set -- $(cat /job/arguments)"
case $FORM in
dkms) build_dkms ;;
kbuild)
    make -C "$KERNEL_BUILD" M="$PWD" -j"$JOBS" "$@"
    keep_all
    ;;
make)
    make -j"$JOBS" "$@"
    keep_all
    ;;
esac
find "/job/source/$DIR" -name Module.symvers -type f -exec cat {} + > /job/result/Module.symvers
