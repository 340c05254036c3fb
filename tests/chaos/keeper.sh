#!/bin/sh
# First process of a private engine's namespaces. Ends when its standard input does, and takes everything with it:
# processes, mounts, files, control groups. So nothing outlives the test process, however that ends.
#
# usage: unshare --net --mount --pid --fork --mount-proc --propagation slave -- sh keeper.sh DIR CGROUP
set -u
dir=$1
cgroup=$2

for family in all default; do
    echo 1 >"/proc/sys/net/ipv6/conf/$family/disable_ipv6" 2>/dev/null
done
ip link set lo up
# All that would leave this machine goes to a link that leads nowhere and counts it.
ip link add nowhere type veth peer name void && ip addr add 192.0.2.1/24 dev nowhere && ip link set void up &&
    ip link set nowhere arp off up && ip route add default dev nowhere || exit 1
echo ready
cat >/dev/null

kill -KILL -1
awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r at; do
    umount -l "$at"
done
rm -rf --one-file-system "$dir"
# The groups of a container are empty a moment after its processes are.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null
    [ -n "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" | head -n 1)" ] || break
    sleep 0.1
done
exit 0
