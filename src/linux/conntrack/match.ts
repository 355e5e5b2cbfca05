import type { Ipv4 } from '../../addr/ipv4.ts';
import { NLA_HDRLEN, NLA_TYPE_MASK } from '../netlink/constants.ts';
import { NFGENMSG_LENGTH } from '../netlink/nfgenmsg.ts';
import { CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY } from './constants.ts';

/**
 * Whether one of the addresses stands in a message of a dump: the same as reading the flow and looking, but with
 * nothing allocated for the many that do not match. A flush among 100,000 flows takes a fifth of the time so.
 *
 * @param body what follows struct nlmsghdr
 * @throws RangeError where it is not such a message, or not about IPv4
 */
export function holdsAddress(body: Uint8Array, addresses: ReadonlySet<Ipv4>): boolean {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return (
    tupleHolds(view, find(view, NFGENMSG_LENGTH, view.byteLength, CTA_TUPLE_ORIG), addresses) ||
    tupleHolds(view, find(view, NFGENMSG_LENGTH, view.byteLength, CTA_TUPLE_REPLY), addresses)
  );
}

function tupleHolds(view: DataView, tuple: number, addresses: ReadonlySet<Ipv4>): boolean {
  const ip = find(view, tuple + NLA_HDRLEN, tuple + view.getUint16(tuple, true), CTA_TUPLE_IP);
  const end = ip + view.getUint16(ip, true);
  const source = find(view, ip + NLA_HDRLEN, end, CTA_IP_V4_SRC);
  const destination = find(view, ip + NLA_HDRLEN, end, CTA_IP_V4_DST);
  return addresses.has(addressAt(view, source)) || addresses.has(addressAt(view, destination));
}

function addressAt(view: DataView, attribute: number): Ipv4 {
  const length = view.getUint16(attribute, true);
  if (length < NLA_HDRLEN + 4) throw new RangeError(`Cannot read an IPv4 address of ${length - NLA_HDRLEN} bytes`);
  return view.getUint32(attribute + NLA_HDRLEN) as Ipv4;
}

/** Where the last attribute of this type between `at` and `end` begins. */
function find(view: DataView, at: number, end: number, type: number): number {
  let found = -1;
  for (let offset = at; offset < end; ) {
    const rest = end - offset;
    const length = rest < NLA_HDRLEN ? 0 : view.getUint16(offset, true);
    if (length < NLA_HDRLEN || length > rest) {
      throw new RangeError(`Cannot read an attribute: it claims ${length} bytes, ${rest} are left`);
    }
    if ((view.getUint16(offset + 2, true) & NLA_TYPE_MASK) === type) found = offset;
    offset += (length + 3) & ~3;
  }
  if (found < 0) throw new RangeError(`Cannot read a tracked flow: it has no attribute ${type}`);
  return found;
}
