/*
 * As much of protobuf's encoding as etcd's messages take: fields of numbers (varints) and of bytes, which are messages
 * too (protobuf.dev/programming-guides/encoding).
 */

const VARINT = 0;
const BYTES = 2;

export type Value = number | bigint | Uint8Array;

/** A message of these fields in their order; 0 is not written, as in proto3. */
export function encode(...fields: readonly (readonly [number, Value | undefined])[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [field, value] of fields) {
    if (value === undefined || value === 0 || value === 0n) continue;
    if (typeof value === 'object') parts.push(varint((field << 3) | BYTES), varint(value.length), value);
    else parts.push(varint((field << 3) | VARINT), varint(value));
  }
  return Buffer.concat(parts);
}

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.of(...bytes, Number(rest));
}

/** Calls `visit` with each field of a message: bytes as a view, numbers as they are. @throws RangeError */
export function decode(message: Buffer, visit: (field: number, value: bigint | Buffer) => void): void {
  for (let at = 0; at < message.length; ) {
    const tag = readVarint(message, at);
    const value = readVarint(message, tag.end);
    const field = Number(tag.value >> 3n);
    const kind = Number(tag.value & 7n);
    if (kind === VARINT) {
      visit(field, value.value);
      at = value.end;
    } else if (kind === BYTES) {
      at = value.end + Number(value.value);
      visit(field, message.subarray(value.end, at));
    } else throw new RangeError(`Cannot read a field of kind ${kind}`);
  }
}

function readVarint(bytes: Buffer, begin: number): { readonly value: bigint; readonly end: number } {
  let small = 0;
  let at = begin;
  // most are lengths
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[at++] ?? 0;
    small |= (byte & 127) << shift;
    if (byte < 128) return { value: BigInt(small), end: at };
  }
  let value = BigInt(small);
  for (let shift = 28n; shift < 70n; shift += 7n) {
    const byte = bytes[at++] ?? 0;
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return { value: BigInt.asUintN(64, value), end: at };
  }
  throw new RangeError('Cannot read a number: it has no end');
}
