#!/bin/sh
# The first process of a kernel in user mode, whose root is the machine's, to read: measures in a checkout, and ends.
root=${0%/bench/tunnel/user-mode/init.sh}
export PATH="$root/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs run /run
ln -sf /proc/self/fd /dev/fd
mount -t tmpfs cache "$root/.cache"
mkdir "$root/.cache/tmp"
ip link set lo up
export TMPDIR="$root/.cache/tmp" NODE_COMPILE_CACHE="$root/.cache/compiled"
cd "$root" || exit
[ -n "$CULVERT_CYCLES" ] || unset CULVERT_CYCLES
[ -n "$CULVERT_SEED" ] || unset CULVERT_SEED
# shellcheck disable=SC2046 # to be split
node bench/tunnel/main.ts $(echo "$ROWS" | tr , " ")
halt -f -p
