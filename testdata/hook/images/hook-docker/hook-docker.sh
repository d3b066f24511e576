#!/bin/sh
# Keeps dockerd running on the images that came with HookOS: the template binds
# /var/run/images of the machine to /var/lib/docker here.
set -u

logs=/var/log
socket=/run/containerd/containerd.sock

# value NAME prints the last NAME=VALUE of the kernel's command line.
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

# dockerd would start containerd itself, and give up when that takes more than
# a quarter of a minute, as it may on an emulated machine.
start_containerd() {
	mkdir -p /etc/containerd /run/containerd
	cat >/etc/containerd/config.toml <<-END
		version = 2
		root = "/var/lib/docker/containerd/daemon"
		state = "/run/containerd"
		disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
			"io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
			"io.containerd.snapshotter.v1.zfs"]
		[grpc]
		address = "$socket"
	END
	containerd >"$logs/containerd.log" 2>&1 &
	until [ -S "$socket" ]; do
		sleep 0.1
	done
}

mkdir -p "$logs"
write_config
watch_for_reboot &
start_containerd
while :; do
	# Actions here need no network of Docker's own; without it no bridge, no
	# iptables and none of their modules are needed either. With another storage
	# driver it would start without the images on board.
	dockerd --containerd="$socket" --storage-driver=overlay2 --bridge=none --iptables=false --ip6tables=false \
		--userland-proxy=false >"$logs/dockerd.log" 2>&1
	echo "dockerd ended with $?; its last words:"
	tail -n 30 "$logs/dockerd.log"
	sleep 5
done
