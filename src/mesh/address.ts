import type { Ipv4 } from '../addr/ipv4.ts';
import { lastAddress, type Prefix } from '../addr/prefix.ts';

/** The address of a host in the mesh, in its router namespace: the last of its subnet, which no sandbox has. */
export function meshAddress(subnet: Prefix): Ipv4 {
  return lastAddress(subnet);
}
