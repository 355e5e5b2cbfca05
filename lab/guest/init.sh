#!/bin/busybox sh
# The first process of the lab's guest: it brings up the network that the kernel's command line asks for, then runs
# the commands that come in on the second serial line until it is told to power off.

/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
ln -s /run /var/run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

for module in /modules/*.ko; do insmod "$module"; done

# ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:AUTOCONF (Documentation/admin-guide/nfs/nfsroot.rst). Where the kernel
# has CONFIG_IP_PNP and the driver built in it has done this already. Debian's has neither: its driver is a module,
# and the initramfs reads ip= in the kernel's stead, as initramfs-tools' configure_networking does.
configure() {
  IFS=:
  # shellcheck disable=SC2086 # to be split
  set -- $1
  unset IFS
  hostname "${5:-guest}"
  ifconfig "$6" "$1" netmask "$4" up
  ip route replace default via "$3" dev "$6"
}
for argument in $(cat /proc/cmdline); do
  case $argument in
    ip=*) configure "${argument#ip=}" ;;
    lifetime=*) lifetime=${argument#lifetime=} ;;
  esac
done

# Whoever waits for this guest may be gone.
(sleep "$lifetime"; poweroff -f) &

# A line in: a number, seconds and a command in base64, which is killed when they are over; a line out: the number, the
# exit code and what was printed, in base64.
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo "0 0 $(uname -r | base64)" >&3
while read -r number seconds command <&3; do
  timeout -s KILL "$seconds" sh -c "$(echo "$command" | base64 -d)" >/output 2>&1 3>&- </dev/null
  echo "$number $? $(base64 </output | tr -d '\n')" >&3
done
