import { isIpv6 } from '../../addr/ip.ts';
import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { lastAddress, prefixAround, prefixHas } from '../../addr/prefix.ts';
import type { KernelObject } from '../../plan/state.ts';

/** The longest prefix that has neighbours; of /31 both addresses are hosts' (RFC 3021). */
const LONGEST = 31;
const NOWHERE = parseIpv4('0.0.0.0');

/**
 * Whether an address is a neighbour's by what addresses a link has. One of the machine's own is none: what is for another
 * daemon on it does not leave it.
 *
 * @param objects of the root namespace
 * @param uplink name of the link
 */
export function isOnLink(address: Ipv4, objects: readonly KernelObject[], uplink: string): boolean {
  const own = objects.filter((object) => object.kind === 'address');
  if (address === NOWHERE || own.some((one) => one.address === address)) return false;
  return own.some((one) => {
    if (one.link.name !== uplink || one.length > LONGEST || isIpv6(one.address)) return false;
    const network = prefixAround(one.address, one.length);
    if (!prefixHas(network, address)) return false;
    return one.length === LONGEST || (address !== network.address && address !== lastAddress(network));
  });
}
