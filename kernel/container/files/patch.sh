#!/bin/sh
# Changes the files of /src/linux that patches change. /job/touched lists them,
# /job/new has their new content; those without one are removed. /job/patches
# identifies the patches.
#
# /src/pristine keeps the files as they were before any patch, and /src/created
# lists those that did not exist, so that other patches can be applied later.
# Files that do not change keep their time: make compiles only what has to be.
set -eu
cd /src
rm -f patched
touch touched created
sort -u touched /job/touched > touched.new
mv touched.new touched

created() { grep -qxF -e "$1" created; }

while IFS= read -r name; do
    if [ -e "pristine/$name" ] || created "$name"; then continue; fi
    if [ -e "linux/$name" ]; then
        mkdir -p "pristine/$(dirname "$name")"
        cp -p "linux/$name" kept
        mv kept "pristine/$name"
    else
        echo "$name" >> created
    fi
done < /job/touched

while IFS= read -r name; do
    if [ -e "/job/new/$name" ]; then
        want=/job/new/$name
    elif grep -qxF -e "$name" /job/touched || created "$name"; then
        rm -f "linux/$name"
        continue
    elif [ -e "pristine/$name" ]; then
        want=pristine/$name
    else # a source directory was copied again, with the times of its files
        if [ -e "linux/$name" ]; then touch "linux/$name"; fi
        continue
    fi
    if cmp -s "$want" "linux/$name"; then continue; fi
    mkdir -p "linux/$(dirname "$name")"
    cp "$want" "linux/$name"
    chmod --reference="$want" "linux/$name"
done < touched

cp /job/touched touched
cp /job/patches patched
