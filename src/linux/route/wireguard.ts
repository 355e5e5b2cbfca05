import type { Link } from '../../plan/state.ts';
import type { Request } from '../netlink/socket.ts';
import { IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD } from './constants.ts';
import { CREATE_LINK, writeLinkHeader } from './link.ts';

/**
 * A WireGuard of the kernel's, down, born in the namespace behind `namespace` (a descriptor). Its encrypted packets come
 * and go in the namespace of the socket that this is sent to, wherever the link is.
 *
 * @param mtu bytes
 */
export function newWireguard(link: Link, mtu: number, namespace: number): Request {
  return {
    ...CREATE_LINK,
    attempt: `add WireGuard ${link.name}`,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.attrString(IFLA_IFNAME, link.name).attrU32(IFLA_MTU, mtu).attrU32(IFLA_NET_NS_FD, namespace);
      writer.nest(IFLA_LINKINFO, (info) => info.attrString(IFLA_INFO_KIND, 'wireguard'));
    },
  };
}
