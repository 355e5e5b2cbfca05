import { readAttributes, readU32 } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { AF_INET, NETCONFA_IFINDEX, RTM_GETNETCONF } from '../route/constants.ts';

/** bytes of struct netconfmsg, padded */
const NETCONFMSG_LENGTH = 4;

/**
 * The indexes of a namespace's links, from their IPv4 settings. A dump of the links themselves takes time by the
 * square of their number where their other ends are in as many namespaces: the kernel searches for the id of each.
 */
export function listLinkIndexes(socket: NetlinkSocket): number[] {
  const request = {
    attempt: 'list settings of links',
    type: RTM_GETNETCONF,
    flags: 0,
    write: (writer: MessageWriter): void => {
      writer.u8(AF_INET).u8(0).u16(0);
    },
  };
  const found = socket.dump(request, ({ body }) => {
    const index = readAttributes(body, NETCONFMSG_LENGTH).get(NETCONFA_IFINDEX);
    return index === undefined ? 0 : readU32(index);
  });
  // those of `all` and `default` are negative
  return found.filter((index) => index > 0 && index < 0x80000000);
}
