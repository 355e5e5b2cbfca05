import { NLA_HDRLEN, NLA_TYPE_MASK } from './constants.ts';

const decoder = new TextDecoder();

/** Attributes by type; where one repeats, the last stands. Values view the receive buffer. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

/**
 * Reads the attributes from `at` on.
 *
 * @param only where given, the types to keep: each that is kept costs an object
 * @throws RangeError where a length is not what the bytes hold
 */
export function readAttributes(bytes: Uint8Array, at = 0, only?: ReadonlySet<number>): Attributes {
  const attributes = new Map<number, Uint8Array>();
  for (let offset = at; offset < bytes.length; ) {
    const length = lengthAt(bytes, offset);
    const type = typeAt(bytes, offset);
    if (only === undefined || only.has(type)) {
      attributes.set(type, bytes.subarray(offset + NLA_HDRLEN, offset + length));
    }
    offset += (length + 3) & ~3;
  }
  return attributes;
}

/** The attributes from `at` on as they come, repeated ones too. @throws RangeError as {@link readAttributes} does */
export function* eachAttribute(bytes: Uint8Array, at = 0): Generator<[number, Uint8Array]> {
  for (let offset = at; offset < bytes.length; ) {
    const length = lengthAt(bytes, offset);
    yield [typeAt(bytes, offset), bytes.subarray(offset + NLA_HDRLEN, offset + length)];
    offset += (length + 3) & ~3;
  }
}

/**
 * Calls `visit` with the type of each attribute from `at` on, and where in `bytes` its value begins and ends. For tables
 * of thousands: it makes no object.
 *
 * @throws RangeError as {@link readAttributes} does
 */
export function visitAttributes(
  bytes: Uint8Array,
  at: number,
  visit: (type: number, begin: number, end: number) => void,
): void {
  for (let offset = at; offset < bytes.length; ) {
    const length = lengthAt(bytes, offset);
    visit(typeAt(bytes, offset), offset + NLA_HDRLEN, offset + length);
    offset += (length + 3) & ~3;
  }
}

function lengthAt(bytes: Uint8Array, offset: number): number {
  const rest = bytes.length - offset;
  if (rest < NLA_HDRLEN) throw new RangeError(`Cannot read an attribute: ${rest} bytes are left, a header has 4`);
  const length = u16At(bytes, offset);
  if (length >= NLA_HDRLEN && length <= rest) return length;
  throw new RangeError(`Cannot read an attribute: it claims ${length} bytes, ${rest} are left`);
}

function typeAt(bytes: Uint8Array, offset: number): number {
  return u16At(bytes, offset + 2) & NLA_TYPE_MASK;
}

/** A view would cost more than the reading: a dump has a hundred thousand attributes. */
function u16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

export function readU32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0, true);
}

/** {@link readU32} of a value that {@link visitAttributes} found. @throws RangeError where it is not 4 bytes */
export function u32At(bytes: Uint8Array, begin: number, end: number): number {
  assertWord(begin, end);
  return (u16At(bytes, begin) | (u16At(bytes, begin + 2) << 16)) >>> 0;
}

/** {@link readU32be} of a value that {@link visitAttributes} found. @throws RangeError where it is not 4 bytes */
export function u32beAt(bytes: Uint8Array, begin: number, end: number): number {
  assertWord(begin, end);
  const word = u16At(bytes, begin) | (u16At(bytes, begin + 2) << 16);
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

function assertWord(begin: number, end: number): void {
  if (end - begin !== 4) throw new RangeError(`Cannot read a number of 32 bits from ${end - begin} bytes`);
}

/** The text before the closing zero, if there is one. */
export function readString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** An integer in network order, such as an IPv4 address. */
export function readU32be(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0, false);
}

/** A short integer in network order, such as a port. */
export function readU16be(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint16(0, false);
}
