#!/bin/sh
# Makes /src/linux of the archive in /src/incoming, or of the directory that
# was copied to /src/linux.new.
set -eu
cd /src
# Another flavor's build may have unpacked the same archive meanwhile, and be
# compiling it.
if [ -f incoming ] && [ -f complete ]; then
    rm -f incoming
    exit 0
fi
if [ -f incoming ]; then
    echo "hookbuild: unpacking the source"
    rm -rf linux.new
    mkdir linux.new
    tar -xf incoming -C linux.new --strip-components=1 --no-same-owner
    rm -f incoming
fi
[ -f linux.new/Kbuild ] || {
    echo "hookbuild: this is no Linux source: it has no file Kbuild"
    exit 1
}
# HookOS' command lines are longer than the kernel's limit. The file keeps its
# time, so that copying a directory again does not compile everything anew.
for header in arch/x86/include/asm/setup.h arch/arm64/include/uapi/asm/setup.h; do
    if [ -f "linux.new/$header" ]; then
        sed 's/^#define COMMAND_LINE_SIZE[[:space:]]*2048$/#define COMMAND_LINE_SIZE 4096/' "linux.new/$header" > header.new
        touch -r "linux.new/$header" header.new
        chmod --reference="linux.new/$header" header.new
        mv header.new "linux.new/$header"
    fi
done
rm -rf linux pristine created patched
mv linux.new linux
touch complete
