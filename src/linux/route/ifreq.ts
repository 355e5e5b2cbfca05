import type { Mac } from '../../addr/mac.ts';
import type { LinkEnd, NamespaceName } from '../../plan/state.ts';
import { readString } from '../netlink/attribute.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';

/*
 * struct ifreq of linux/if.h: a name in 16 bytes, then a union. Netlink tells more of a link, but for each whose other
 * end is in another namespace it searches for the id of that one, which takes time by the number of them all.
 */

/** linux/sockios.h */
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
/** linux/if.h */
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;

const UNION = 16;
const IFREQ_LENGTH = 40;
/** of the family that stands before an address in struct sockaddr */
const FAMILY_LENGTH = 2;
const MAC_LENGTH = 6;

const request = new Uint8Array(IFREQ_LENGTH);
const view = new DataView(request.buffer);

/** Whether the socket's namespace has a link of this index. By its name the kernel would load a module for one it has not. */
export function hasLink(socket: NetlinkSocket, index: number): boolean {
  request.fill(0);
  view.setInt32(UNION, index, true);
  return socket.askLink(`look for link ${index}`, SIOCGIFNAME, request);
}

/** The name of the link of this index in the socket's namespace; undefined where there is none. */
export function linkName(socket: NetlinkSocket, index: number): string | undefined {
  return hasLink(socket, index) ? readString(request.subarray(0, UNION)) : undefined;
}

/** The index of the link of this name in the socket's namespace; undefined where there is none. */
export function linkIndex(socket: NetlinkSocket, name: string): number | undefined {
  return ask(socket, SIOCGIFINDEX, name) ? view.getInt32(UNION, true) : undefined;
}

/** What the link of this index is in the socket's namespace; undefined where it is not there. */
export function readLinkEnd(socket: NetlinkSocket, namespace: NamespaceName, index: number): LinkEnd | undefined {
  const name = linkName(socket, index);
  if (name === undefined) return undefined;
  const link = { name, index };
  if (!ask(socket, SIOCGIFFLAGS, link.name)) return undefined;
  const up = (view.getUint16(UNION, true) & IFF_UP) !== 0;
  if (!ask(socket, SIOCGIFMTU, link.name)) return undefined;
  const mtu = view.getInt32(UNION, true);
  if (!ask(socket, SIOCGIFHWADDR, link.name)) return undefined;
  const at = UNION + FAMILY_LENGTH;
  return { namespace, link, mac: request.slice(at, at + MAC_LENGTH) as Mac, mtu, up };
}

/** Whether a link is set up and has a carrier; undefined where there is none of the name. */
export function isRunning(socket: NetlinkSocket, name: string): boolean | undefined {
  if (!ask(socket, SIOCGIFFLAGS, name)) return undefined;
  return (view.getUint16(UNION, true) & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING);
}

/** Has the answer in {@link request}; false where there is no such link. */
function ask(socket: NetlinkSocket, code: number, name: string): boolean {
  request.fill(0);
  for (let at = 0; at < name.length && at < UNION - 1; at++) request[at] = name.charCodeAt(at);
  return socket.askLink(`look at link ${name}`, code, request);
}
