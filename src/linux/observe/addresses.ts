import type { Ipv4 } from '../../addr/ipv4.ts';
import { type Ipv6, ipv6Of } from '../../addr/ipv6.ts';
import type { KernelObject, Link, NamespaceName } from '../../plan/state.ts';
import { type Attributes, readAttributes, readU32, readU32be } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_INET,
  AF_INET6,
  IFA_ADDRESS,
  IFA_F_NODAD,
  IFA_F_STABLE_PRIVACY,
  IFA_FLAGS,
  IFA_LOCAL,
  IFA_PROTO,
  RTM_GETADDR,
} from '../route/constants.ts';
import type { Links } from './attached.ts';

type Address = Extract<KernelObject, { kind: 'address' }>;

/** bytes of struct ifaddrmsg */
const IFADDRMSG_LENGTH = 8;

/** Those of IPv4, but for the loopback's. @param on where given, of this link only */
export function listAddresses(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  on?: Link,
): (Address & { readonly address: Ipv4 })[] {
  return list(socket, AF_INET, { namespace, links, on }, (attributes) => {
    const local = attributes.get(IFA_LOCAL);
    const address = local === undefined ? undefined : readU32be(local);
    return address === undefined || address >>> 24 === 127 ? undefined : (address as Ipv4);
  });
}

/** Those of IPv6 that the kernel has not made by itself: none of the loopback, of a router's, of a link alone. */
export function listIpv6Addresses(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  on?: Link,
): (Address & { readonly address: Ipv6 })[] {
  return list(socket, AF_INET6, { namespace, links, on }, (attributes) => {
    // where there is an end that it leads to, IFA_ADDRESS is that
    const own = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    return own === undefined || isOfKernel(attributes) ? undefined : ipv6Of(own);
  });
}

/** Only since 5.18 does a kernel say which are its own; what it makes up for a tunnel it has said before. */
function isOfKernel(attributes: Attributes): boolean {
  const flags = attributes.get(IFA_FLAGS);
  return attributes.has(IFA_PROTO) || (flags !== undefined && (readU32(flags) & IFA_F_STABLE_PRIVACY) !== 0);
}

type Where = { readonly namespace: NamespaceName; readonly links: Links; readonly on: Link | undefined };

function list<T extends Ipv4 | Ipv6>(
  socket: NetlinkSocket,
  family: number,
  { namespace, links, on }: Where,
  read: (attributes: Attributes) => T | undefined,
): (Address & { readonly address: T })[] {
  const write = (w: MessageWriter): void => {
    w.u8(family)
      .u8(0)
      .u16(0)
      .u32(on?.index ?? 0);
  };
  const found = socket.dump({ attempt: 'list addresses', type: RTM_GETADDR, flags: 0, write }, ({ body }) => {
    const header = new DataView(body.buffer, body.byteOffset, IFADDRMSG_LENGTH);
    const link = links.get(header.getUint32(4, true));
    const address = link === undefined ? undefined : read(readAttributes(body, IFADDRMSG_LENGTH));
    if (link === undefined || address === undefined) return undefined;
    const nodad = (header.getUint8(2) & IFA_F_NODAD) === 0 ? {} : { nodad: true as const };
    return { kind: 'address' as const, namespace, link, address, length: header.getUint8(1), ...nodad };
  });
  return found.filter((address) => address !== undefined);
}
