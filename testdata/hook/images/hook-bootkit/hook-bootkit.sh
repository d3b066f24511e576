#!/bin/sh
# Waits for dockerd, shows the images that it has and runs the worker, as the
# kernel's command line names it (tink_worker_image, hookbuild.arguments). A program
# that watches the console reads the lines that begin with hookos-demo (test/lab).
set -u

check=/host_root/etc/hookbuild-lab/check.sh

value() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p" | tail -n 1
}

# event NAME VALUES... says what has happened, and when.
event() {
	name=$1
	shift
	echo "hookos-demo: $name after $(cut -d ' ' -f 1 /proc/uptime) s${*:+: $*}"
}

# section NAME COMMAND... runs the command between two lines that name it.
section() {
	name=$1
	shift
	echo "hookos-demo: output of $name:"
	"$@" 2>&1
	code=$?
	echo
	echo "hookos-demo: end of $name, exit code $code"
}

# The socket is there before dockerd answers on it. What it says then is kept.
wait_for_dockerd() {
	until [ -S /var/run/docker.sock ] && driver=$(docker info --format '{{.ServerVersion}} {{.Driver}}' 2>/dev/null); do
		sleep 0.2
	done
}

memory() {
	sed -n -E 's/^(MemTotal|MemAvailable|Shmem): *([0-9]+) kB$/\1=\2KiB/p' /proc/meminfo | tr '\n' ' '
}

worker=$(value tink_worker_image)
worker=${worker:-127.0.0.1/embedded/tink-worker}

event bootkit-started
wait_for_dockerd
# shellcheck disable=SC2046 # one word for each figure
event dockerd-ready $(memory)
section driver echo "$driver"
section images docker images
# shellcheck disable=SC2046 # the worker's arguments, divided by commas
section run docker run --rm --network none "$worker" $(value hookbuild.arguments | tr ',' ' ')
if [ -x "$check" ]; then
	section check "$check"
fi
# shellcheck disable=SC2046
event finished $(memory)
if [ "$(value hookbuild.demo)" = poweroff ]; then
	poweroff -f
fi
# A service that ends would be gone from `runc list`; a real one stays.
while :; do
	sleep 3600
done
