import { NLM_F_REQUEST } from '../netlink/constants.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import { NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES } from './constants.ts';

/**
 * Applies all requests in one transaction of nf_tables, over as many tables as they name: packets see the rules from
 * before or from after, and where one request fails nothing changes.
 *
 * @param socket of NETLINK_NETFILTER, in the namespace of the tables
 * @throws SyscallError that names the first object the kernel refused
 * @throws CulvertError `transaction_too_big`; a transaction cannot be split without ceasing to be one
 */
export function applyTransaction(socket: NetlinkSocket, requests: readonly Request[]): void {
  socket.transaction(edge(NFNL_MSG_BATCH_BEGIN), requests, edge(NFNL_MSG_BATCH_END));
}

/** struct nfgenmsg with the subsystem as its resource, which is big-endian. */
function edge(type: number): Request {
  return {
    attempt: 'commit a transaction of nf_tables',
    type,
    flags: NLM_F_REQUEST,
    write: (writer) => void writer.u8(0).u8(0).u8(0).u8(NFNL_SUBSYS_NFTABLES),
  };
}
