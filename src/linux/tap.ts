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
 * monitor to open. With the header that virtio-net uses, as Firecracker and QEMU expect of a TAP they open.
 */
export function createTap(link: Link): void {
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC);
  try {
    const index = new Uint8Array(4);
    new DataView(index.buffer).setUint32(0, link.index, true);
    ioctl(`set the index of TAP ${link.name} to ${link.index}`, fd, TUNSETIFINDEX, index);
    // struct ifreq: the name in 16 bytes, then the flags
    const request = new Uint8Array(40);
    new TextEncoder().encodeInto(link.name, request.subarray(0, 15));
    new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    ioctl(`add TAP ${link.name}`, fd, TUNSETIFF, request);
    ioctl(`keep TAP ${link.name}`, fd, TUNSETPERSIST, new Uint8Array(1));
  } finally {
    close(fd);
  }
}
