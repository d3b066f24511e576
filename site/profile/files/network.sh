#!/bin/sh
# Written by hookbuild from the site profile. It runs on the host, before services
# start, with busybox alone. settings (below) calls machine for each card with
# settings of its own, and others with the VLAN of all other machines.

exec >/var/log/site-network.log 2>&1
set -x

parameter() { tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p" | tail -n 1; }

# card MAC prints the name of the interface with this address.
card() {
	for dir in /sys/class/net/*; do
		case ${dir##*/} in *.*) continue ;; esac # a VLAN has its card's address
		[ "$(cat "$dir/address" 2>/dev/null)" = "$1" ] && echo "${dir##*/}" && return
	done
	return 1
}

# find_cards loads the drivers of what is there, as long as a driver finds further
# devices, such as those on its bus. A kernel with its network drivers built in has
# nothing to load.
find_cards() {
	before= tries=0
	while [ "$tries" -lt 10 ]; do
		tries=$((tries + 1))
		devices=$(find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u)
		[ "$devices" != "$before" ] || break
		before=$devices
		echo "$devices" | xargs -r modprobe -a -q 2>/dev/null
		usleep 300000
	done
	tries=0
	until ls /sys/class/net | grep -q '^e' || [ "$tries" -ge 50 ]; do
		tries=$((tries + 1))
		usleep 100000
	done
}

# up CARD VLAN brings an interface up and sets name to it, or to its VLAN's.
up() {
	name=$1
	ip link set "$1" up
	[ -n "$2" ] || return 0
	name=$1.$2
	modprobe -q 8021q # a module, in kernels that do not have it built in
	ip link add link "$1" name "$name" type vlan id "$2"
	ip link set "$name" up
}

# machine MAC ADDRESS/BITS GATEWAY VLAN configures the card if this machine has it.
machine() {
	found=$(card "$1") || return 0
	listed=yes
	up "$found" "$4"
	[ -n "$2" ] || return 0
	ip addr add "$2" brd + dev "$name"
	[ -z "$3" ] || ip route add default via "$3" dev "$name"
	mkdir -p /run/network
	echo "# $name has $2 from the site profile" >>/run/network/interfaces # no DHCP then
}

# others VLAN is for machines that are not listed.
others() {
	[ "$listed" = no ] || return 0
	boot=$(parameter hw_addr | tr 'A-F-' 'a-f:')
	for dir in /sys/class/net/e*; do
		case ${dir##*/} in *.*) continue ;; esac
		[ -z "$boot" ] || [ "$(cat "$dir/address")" = "$boot" ] || continue
		up "${dir##*/}" "$1"
	done
}

# names ADDRESS... DOMAIN... are the name servers, and after "search" the domains.
names() {
	file=/run/resolvconf/resolv.conf
	mkdir -p /run/resolvconf
	: >"$file"
	while [ $# -gt 0 ] && [ "$1" != search ]; do
		echo "nameserver $1" >>"$file"
		shift
	done
	[ $# -lt 2 ] || echo "$*" >>"$file"
}

listed=no
if [ -n "$(parameter ipam)$(parameter vlan_id)" ]; then
	echo "the kernel's command line has the network: ipam=$(parameter ipam) vlan_id=$(parameter vlan_id)"
	exit 0
fi
