#!/bin/sh
# Puts the images on board where hook-docker finds them, writable: the root file
# system is mounted read-only by now.
set -eu
mkdir -p /run/images
mount -o bind /etc/embedded-images /run/images
mount -o remount,rw /run/images
