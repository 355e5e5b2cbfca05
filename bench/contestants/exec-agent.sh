#!/bin/sh
# A creator of the kind common agents use: links by ip(8) in two batches, then three rules in the host's iptables and
# two in the sandbox's. Batches cost it less than one ip call per object would.
#
# Reads "create N" lines; answers each with "ok".
set -eu

make() {
  i=$1
  near=10.12.$((i / 128)).$((i % 128 * 2))
  far=10.12.$((i / 128)).$((i % 128 * 2 + 1))
  address=10.11.$((i / 256)).$((i % 256))
  ip netns add "a$i"
  ip -batch - <<HOST
link add v$i type veth peer name eth0 netns a$i
address add $near/31 dev v$i
link set v$i up
route add $address/32 via $far
HOST
  ip -n "a$i" -batch - <<SANDBOX
link set lo up
address add $far/31 dev eth0
link set eth0 up
route add default via $near
tuntap add tap0 mode tap
address add 169.254.0.22/30 dev tap0
link set tap0 up
SANDBOX
  nsenter "--net=/run/netns/a$i" sh -euc "
    echo 1 > /proc/sys/net/ipv4/ip_forward
    iptables -t nat -A POSTROUTING -o eth0 -s 169.254.0.21 -j SNAT --to-source $address
    iptables -t nat -A PREROUTING -i eth0 -d $address -j DNAT --to-destination 169.254.0.21"
  iptables -A FORWARD -i "v$i" -o eth0 -j ACCEPT
  iptables -A FORWARD -i eth0 -o "v$i" -j ACCEPT
  iptables -t nat -A POSTROUTING -s "$address" -o eth0 -j MASQUERADE
}

made=0
while read -r command count; do
  [ "$command" = create ] || { echo "Unknown command $command" >&2; exit 1; }
  while [ "$count" -gt 0 ]; do
    made=$((made + 1))
    make "$made"
    count=$((count - 1))
  done
  echo ok
done
