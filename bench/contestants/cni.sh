#!/bin/sh
# What a container runtime does with CNI's ptp and host-local: one call of the plugin per sandbox. The namespaces are
# there already.
#
# usage: cni.sh PLUGIN CONFIG PINS; reads "create N" lines and answers each with "ok"
set -eu
plugin=$1 config=$2 pins=$3
export CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH="${plugin%/*}"

made=0
while read -r command count; do
  [ "$command" = create ] || { echo "Unknown command $command" >&2; exit 1; }
  while [ "$count" -gt 0 ]; do
    made=$((made + 1))
    CNI_CONTAINERID="c$made" CNI_NETNS="$pins/c$made" "$plugin" < "$config" > /dev/null
    count=$((count - 1))
  done
  echo ok
done
