import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { NLA_F_NESTED } from '../netlink/constants.ts';
import { writeNfgenmsg } from '../netlink/nfgenmsg.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import { AF_INET, CTA_ID, CTA_TUPLE_ORIG, CTA_ZONE, IPCTNL_MSG_CT_DELETE, NFNL_SUBSYS_CTNETLINK } from './constants.ts';
import { dumpFlowsOf } from './dump.ts';
import type { Flow } from './flow.ts';

/** A dump and deletions each; the first is enough unless something still makes flows. */
const MAX_ROUNDS = 3;

export type Flushed = {
  /** how many flows were deleted */
  readonly deleted: number;
  /** what the first dump showed */
  readonly found: readonly Flow[];
  /** what the last dump showed: where it is nothing, the flush is verified */
  readonly left: readonly Flow[];
};

/**
 * Deletes every tracked flow in which one of the addresses stands and that is of those meant, in either direction, before or after translation,
 * and looks again. What still makes flows must be cut off before: a flow that arises meanwhile is found, but each
 * round can be followed by another one.
 *
 * @param socket of NETLINK_NETFILTER, in the namespace that tracks
 * @throws SyscallError where the kernel refuses for another reason than that a flow is gone or busy
 */
export function flushAddresses(
  socket: NetlinkSocket,
  addresses: ReadonlySet<Ipv4>,
  which: (flow: Flow) => boolean = () => true,
): Flushed {
  let deleted = 0;
  if (addresses.size === 0) return { deleted, found: [], left: [] };
  const find = (): Flow[] => dumpFlowsOf(socket, addresses).filter(which);
  const found = find();
  let left = found;
  for (let round = 0; round < MAX_ROUNDS && left.length > 0; round++) {
    deleted += deleteFlows(socket, left);
    left = find();
  }
  return { deleted, found, left };
}

function deleteFlows(socket: NetlinkSocket, flows: readonly Flow[]): number {
  let deleted = 0;
  for (const error of socket.batch(flows.map(deletion))) {
    if (error === undefined) deleted++;
    // ENOENT: it ended by itself, or the tuple belongs to a later flow; EBUSY: the verifying dump shows it
    else if (error.errnoName !== 'ENOENT' && error.errnoName !== 'EBUSY') throw error;
  }
  return deleted;
}

/** The kernel takes a deletion without a tuple for one of the whole table: this one always has it. */
function deletion({ id, zone, key, original, protocol }: Flow): Request {
  return {
    attempt: `delete a flow of protocol ${protocol} from ${formatIpv4(original.source)} to ${formatIpv4(original.destination)}`,
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
    flags: 0,
    write(writer) {
      writeNfgenmsg(writer, AF_INET);
      writer.attr(CTA_TUPLE_ORIG | NLA_F_NESTED, key).attrU32be(CTA_ID, id);
      if (zone !== undefined) writer.attrU16be(CTA_ZONE, zone);
    },
  };
}
