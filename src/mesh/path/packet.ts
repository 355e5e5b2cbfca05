import { WAYS, type Way } from '../way.ts';

/**
 * What hosts ask each other by UDP, in packets as large as those of sandboxes may be:
 *
 *     0  'C' 'V' 'P' 1    3 bytes of name, and the version
 *     4  kind             1 ask, 2 ask for an answer as large, 3 answer
 *     5  way              1 clear, 2 even, 3 odd: by which the sender's sandboxes send to the receiver; 0 none yet
 *     6  carries          bytes, of the largest IP packet that has passed to the receiver by this way; 0 not known
 *     8  epoch            that the sender has reached, big-endian
 *    12  nonce            eight bytes, the same in the answer
 *    20  zeros            to the size
 */
export type Packet = {
  readonly kind: 'ask' | 'ask whole' | 'answer';
  readonly way: Way | undefined;
  readonly carries: number;
  readonly epoch: number;
  readonly nonce: bigint;
};

const MAGIC = 0x43_56_50_01;
const KINDS = ['ask', 'ask whole', 'answer'] as const;
const HEADER = 20;

/** bytes of the headers of IPv4, without options, and UDP */
export const OUTER = 28;
/** bytes of the smallest IP packet that asks */
export const SMALLEST = OUTER + HEADER;

/** @param length bytes of the IP packet that carries it, {@link SMALLEST} at the least */
export function writePacket({ kind, way, carries, epoch, nonce }: Packet, length: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(length, SMALLEST) - OUTER);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint8(4, KINDS.indexOf(kind) + 1);
  view.setUint8(5, way === undefined ? 0 : WAYS.indexOf(way) + 1);
  view.setUint16(6, carries);
  view.setUint32(8, epoch);
  view.setBigUint64(12, nonce);
  return bytes;
}

/** undefined of anything that is none: whoever sends may send what they like */
export function readPacket(bytes: Uint8Array): Packet | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = KINDS[view.getUint8(4) - 1];
  const number = view.getUint8(5);
  if (view.getUint32(0) !== MAGIC || kind === undefined || number > WAYS.length) return undefined;
  return {
    kind,
    way: WAYS[number - 1],
    carries: view.getUint16(6),
    epoch: view.getUint32(8),
    nonce: view.getBigUint64(12),
  };
}
