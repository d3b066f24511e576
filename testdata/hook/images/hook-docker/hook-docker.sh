#!/bin/sh
# Keeps dockerd running on the images that came with HookOS: the template binds
# /var/run/images of the machine to /var/lib/docker here.
set -u

log=/var/log/dockerd.log

# value NAME gives the last NAME=VALUE of the kernel's command line.
value() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p" | tail -n 1
}

# An action asks for a reboot by making this file.
watch_for_reboot() {
	until [ -e /worker/reboot ]; do
		sleep 1
	done
	reboot -f
}

write_config() {
	mkdir -p /etc/docker
	registries=$(value insecure_registries | sed 's/[^,]\{1,\}/"&"/g')
	echo "{\"insecure-registries\": [$registries]}" >/etc/docker/daemon.json
}

mkdir -p /var/log
write_config
watch_for_reboot &
while :; do
	# Actions here need no network of Docker's own; without it no bridge, no
	# iptables and none of their modules are needed either.
	# With another storage driver it would start without the images on board.
	dockerd --storage-driver=overlay2 --bridge=none --iptables=false --ip6tables=false --userland-proxy=false >"$log" 2>&1
	echo "dockerd ended with $?; its last words:"
	tail -n 30 "$log"
	sleep 5
done
