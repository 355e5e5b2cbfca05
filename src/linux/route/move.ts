import type { Link } from '../../plan/state.ts';
import type { Request } from '../netlink/socket.ts';
import { IFLA_NET_NS_FD, IFLA_NEW_IFINDEX, RTM_NEWLINK } from './constants.ts';
import { writeLinkHeader } from './link.ts';

/**
 * Moves a link to the namespace behind `namespace` (a descriptor), where it has the same name and this index, is down and
 * has no addresses. Where one of the two is taken there it stays where it is: EEXIST or EBUSY; where no index is given
 * the kernel chooses. The kernel would give it
 * another name only when it has moved, and leave it there with the old one where it cannot.
 */
export function moveLink(link: Link, index: number | undefined, namespace: number): Request {
  return {
    attempt: `move link ${link.name} to another namespace${index === undefined ? '' : ` as link ${index}`}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.attrU32(IFLA_NET_NS_FD, namespace);
      if (index !== undefined) writer.attrU32(IFLA_NEW_IFINDEX, index);
    },
  };
}
