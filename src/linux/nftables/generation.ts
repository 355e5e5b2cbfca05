import { readAttributes, readU32be } from '../netlink/attribute.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { SyscallError } from '../syscall.ts';
import { NFT_MSG_GETGEN, NFTA_GEN_ID } from './constants.ts';
import { NFGENMSG_LENGTH, tableMessage } from './message.ts';

/**
 * A number that is another after each transaction of nf_tables in the socket's namespace, whoever makes it.
 *
 * @param socket of NETLINK_NETFILTER
 */
export function readGeneration(socket: NetlinkSocket): number {
  // the family is not asked for, and some must be said
  const request = tableMessage('inet', 'read the generation of nf_tables', NFT_MSG_GETGEN, 0, () => {});
  const [answer] = socket.ask([request], ({ body }) => {
    const generation = readAttributes(body, NFGENMSG_LENGTH).get(NFTA_GEN_ID);
    if (generation === undefined) throw new RangeError(`Cannot ${request.attempt}: the answer has none`);
    return readU32be(generation);
  });
  if (answer instanceof SyscallError) throw answer;
  if (answer === undefined) throw new RangeError(`Cannot ${request.attempt}: there is no answer`);
  return answer;
}
