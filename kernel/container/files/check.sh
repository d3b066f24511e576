#!/bin/sh
# Writes the programs that the image lacks to /job/out/missing. It runs in
# images that users bring, and needs nothing but a shell and mkdir.
set -u
mkdir -p /job/out
for program in bc bison ccache flex gcc gzip make perl tar xz "${CROSS_COMPILE}gcc" "${CROSS_COMPILE}ld"; do
    command -v "$program" > /dev/null || echo "$program"
done > /job/out/missing
