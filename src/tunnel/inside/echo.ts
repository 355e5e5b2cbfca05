import type { Family } from '../../plan/state.ts';

/**
 * A question that hosts answer by themselves (ICMP echo; RFC 792, RFC 4443), of any length. The nonce, eight bytes, stands
 * first of what is echoed, so that it is in what quotes the question too:
 *
 *     0  type, code 0    8 or 128 asks, 0 or 129 answers
 *     2  checksum        for ICMPv6 the kernel's to fill in
 *     4  identifier, sequence number: of no meaning here
 *     8  nonce
 *    16  zeros
 */
export function writeEcho(family: Family, nonce: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(length, SMALLEST[family]) - HEADER[family]);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, ASK[family]);
  view.setBigUint64(NONCE_AT, nonce);
  if (family === 'inet') view.setUint16(2, checksum(bytes));
  return bytes;
}

export type Answer = {
  readonly nonce: bigint;
  /** `whole` where as much came back as was sent; `short` where somebody on the way says that it came so far */
  readonly kind: 'whole' | 'short';
};

/**
 * What a socket of the family for ICMP has received.
 *
 * @param bytes with the header of IPv4, without that of IPv6, as raw(7) has it
 * @returns undefined of all that answers no question of this kind
 */
export function readAnswer(family: Family, bytes: Uint8Array): Answer | undefined {
  const begin = family === 'inet' ? headerLength(bytes) : 0;
  const type = bytes[begin];
  const at = begin + NONCE_AT;
  if (type === ANSWER[family]) return withNonce(bytes, at, 'whole');
  const code = bytes[begin + 1];
  // one that says that the question was too large is no answer to it
  const isAbout = SAYS[family].some((one) => one.type === type && one.code !== code);
  if (!isAbout) return undefined;
  const quoted = begin + QUOTE_AT;
  const message = quoted + (family === 'inet' ? headerLength(bytes.subarray(quoted)) : HEADER.inet6);
  return bytes[message] === ASK[family] ? withNonce(bytes, message + NONCE_AT, 'short') : undefined;
}

/** bytes */
const HEADER: Readonly<Record<Family, number>> = { inet: 20, inet6: 40 };
const NONCE_AT = 8;
const NONCE = 8;
/** Where an error has what it is about. */
const QUOTE_AT = 8;
/** bytes of the IP packet that has room for a nonce */
export const SMALLEST: Readonly<Record<Family, number>> = {
  inet: HEADER.inet + NONCE_AT + NONCE,
  inet6: HEADER.inet6 + NONCE_AT + NONCE,
};

/** linux/icmp.h, linux/icmpv6.h */
const ASK: Readonly<Record<Family, number>> = { inet: 8, inet6: 128 };
const ANSWER: Readonly<Record<Family, number>> = { inet: 0, inet6: 129 };
const NEVER = -1;
const SAYS: Readonly<Record<Family, readonly { readonly type: number; readonly code: number }[]>> = {
  // destination unreachable but for “fragmentation needed”, and time exceeded
  inet: [
    { type: 3, code: 4 },
    { type: 11, code: NEVER },
  ],
  inet6: [
    { type: 1, code: NEVER },
    { type: 3, code: NEVER },
  ],
};

function headerLength(bytes: Uint8Array): number {
  return ((bytes[0] ?? 0) & 0xf) * 4;
}

function withNonce(bytes: Uint8Array, at: number, kind: Answer['kind']): Answer | undefined {
  if (at + NONCE > bytes.length) return undefined;
  return { nonce: new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(at), kind };
}

/** RFC 1071 */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
