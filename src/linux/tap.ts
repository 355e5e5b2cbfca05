import type { Link } from '../plan/state.ts';
import { close, ioctl, open } from './syscall.ts';

/** fcntl.h */
const O_RDWR_CLOEXEC = 0o2000002;
/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETIFINDEX = 0x400454da;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

/**
 * Makes a persistent TAP in the calling thread's namespace: it stays when its descriptor closes, for a virtual machine
 * monitor to open.
 */
export function createTap(link: Link): void {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  try {
    const index = new Uint8Array(4);
    new DataView(index.buffer).setUint32(0, link.index, true);
    ioctl(`set the index of TAP ${link.name} to ${link.index}`, fd, TUNSETIFINDEX, index);
    attach(`add TAP ${link.name}`, fd, link.name);
    ioctl(`keep TAP ${link.name}`, fd, TUNSETPERSIST, new Uint8Array(1));
  } finally {
    close(fd);
  }
}

/**
 * Opens a TAP of the calling thread's namespace as a virtual machine monitor does, and makes it where there is none. A
 * read gives one frame and a write takes one, each behind a struct virtio_net_hdr (linux/virtio_net.h) of 10 bytes.
 *
 * @returns a descriptor, to be closed
 */
export function openTap(name: string): number {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  try {
    attach(`open TAP ${name}`, fd, name);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** With the header that virtio-net uses, as Firecracker and QEMU expect of a TAP they open. */
function attach(attempt: string, fd: number, name: string): void {
  // struct ifreq: the name in 16 bytes, then the flags
  const request = new Uint8Array(40);
  new TextEncoder().encodeInto(name, request.subarray(0, 15));
  new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
  ioctl(attempt, fd, TUNSETIFF, request);
}
