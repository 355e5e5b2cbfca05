import type { Ipv4 } from '../../addr/ipv4.ts';
import { writeNfgenmsg } from '../netlink/nfgenmsg.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import { AF_INET, IPCTNL_MSG_CT_GET, NFNL_SUBSYS_CTNETLINK } from './constants.ts';
import { type Flow, readFlow } from './flow.ts';
import { holdsAddress } from './match.ts';

const LIST: Request = {
  attempt: 'list tracked flows',
  type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
  flags: 0,
  write: (writer) => writeNfgenmsg(writer, AF_INET),
};

/**
 * The IPv4 flows that a namespace tracks: those of which a packet got all the way through.
 *
 * @param socket of NETLINK_NETFILTER, in that namespace
 * @throws CulvertError `dump_interrupted`
 */
export function dumpFlows(socket: NetlinkSocket): Flow[] {
  return socket.dump(LIST, (message) => readFlow(message.body));
}

/** Those flows of {@link dumpFlows} in which one of the addresses stands, in either direction. */
export function dumpFlowsOf(socket: NetlinkSocket, addresses: ReadonlySet<Ipv4>): Flow[] {
  return socket
    .dump(LIST, ({ body }) => (holdsAddress(body, addresses) ? readFlow(body) : undefined))
    .filter((flow) => flow !== undefined);
}
