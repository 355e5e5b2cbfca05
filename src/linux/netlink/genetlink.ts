import { SyscallError } from '../syscall.ts';
import { readAttributes } from './attribute.ts';
import {
  CTRL_ATTR_FAMILY_ID,
  CTRL_ATTR_FAMILY_NAME,
  CTRL_CMD_GETFAMILY,
  GENL_HDRLEN,
  GENL_ID_CTRL,
} from './constants.ts';
import type { MessageWriter } from './message.ts';
import type { NetlinkSocket, Request } from './socket.ts';

/** Every message of generic netlink begins with it: struct genlmsghdr. */
export function writeGenlmsghdr(writer: MessageWriter, command: number, version: number): void {
  writer.u8(command).u8(version).u16(0);
}

/**
 * The message type of a family, which the kernel gives out as families come. It loads the module that has the family,
 * where it can.
 *
 * @param socket of NETLINK_GENERIC
 * @returns undefined where the kernel has no such family
 */
export function familyId(socket: NetlinkSocket, name: string): number | undefined {
  const request: Request = {
    attempt: `look for the ${name} of generic netlink`,
    type: GENL_ID_CTRL,
    flags: 0,
    write(writer) {
      writeGenlmsghdr(writer, CTRL_CMD_GETFAMILY, 1);
      writer.attrString(CTRL_ATTR_FAMILY_NAME, name);
    },
  };
  const [answer] = socket.ask([request], ({ body }) => readFamilyId(body));
  if (!(answer instanceof SyscallError)) return answer;
  if (answer.errnoName === 'ENOENT') return undefined;
  throw answer;
}

/** @throws RangeError where it is no answer about a family */
function readFamilyId(body: Uint8Array): number {
  const id = readAttributes(body, GENL_HDRLEN).get(CTRL_ATTR_FAMILY_ID) ?? new Uint8Array();
  return new DataView(id.buffer, id.byteOffset, id.length).getUint16(0, true);
}
