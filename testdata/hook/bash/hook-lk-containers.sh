#!/usr/bin/env bash
# The images of other projects that this checkout republishes under its own
# registry: each is wrapped in images/hook-linuxkit-<key>, a directory made on
# demand, whose Dockerfile has only a FROM line.

function list_linuxkit_proxy_images() {
	declare -g -A linuxkit_proxy_images=()
	linuxkit_proxy_images+=(["init"]="hookbuild/labinit:1")
	linuxkit_proxy_images+=(["modprobe"]="hookbuild/modprobe:1")
}
