import { type Ipv6, ipv6Bytes, ipv6Of } from '../../addr/ipv6.ts';
import type { Mac } from '../../addr/mac.ts';
import type { FieldType, Value } from '../../plan/ruleset.ts';
import type { MessageWriter } from '../netlink/message.ts';

/*
 * Keys and data as the kernel compares them: each field is padded to whole registers of four bytes. The numbers of the
 * types mean nothing to the kernel, nft(8) shows fields by them; they are listed in set.go of google/nftables.
 */

const FIELDS = {
  ipv4_addr: { number: 7, bytes: 4, order: 'network' },
  ipv6_addr: { number: 8, bytes: 16, order: 'network' },
  ether_addr: { number: 9, bytes: 6, order: 'network' },
  inet_proto: { number: 12, bytes: 1, order: 'network' },
  inet_service: { number: 13, bytes: 2, order: 'network' },
  icmp_type: { number: 14, bytes: 1, order: 'network' },
  mark: { number: 19, bytes: 4, order: 'host' },
  iface_index: { number: 20, bytes: 4, order: 'host' },
  icmpv6_type: { number: 29, bytes: 1, order: 'network' },
} as const satisfies Record<FieldType, { number: number; bytes: number; order: 'network' | 'host' }>;

/** A concatenation's type is its fields' types, six bits each, the first one highest. */
const TYPE_BITS = 6;

const names: ReadonlyMap<number, FieldType> = new Map(
  Object.entries(FIELDS).map(([name, { number }]) => [number, name as FieldType]),
);

export function typeNumber(types: readonly FieldType[]): number {
  return types.reduce((number, type) => number * 2 ** TYPE_BITS + FIELDS[type].number, 0);
}

/** Whether nft(8) must be told, because the kernel does not care, that the bytes of a lone field are the host's. */
export function isHostOrder(types: readonly FieldType[]): boolean {
  return types.length === 1 && types.every((type) => FIELDS[type].order === 'host');
}

/** @throws RangeError where one of the fields is of a type that is not in use here */
export function fieldTypes(number: number): FieldType[] {
  const types: FieldType[] = [];
  for (let rest = number; rest > 0; rest = Math.floor(rest / 2 ** TYPE_BITS)) {
    const type = names.get(rest % 2 ** TYPE_BITS);
    if (type === undefined) throw new RangeError(`Cannot read a set of type ${number}: unknown field type`);
    types.unshift(type);
  }
  return types;
}

/** bytes of each field, as a set is declared with: only a concatenation has its fields padded */
export function fieldLengths(types: readonly FieldType[]): number[] {
  return types.map((type) => (types.length === 1 ? FIELDS[type].bytes : (FIELDS[type].bytes + 3) & ~3));
}

export function keyLength(types: readonly FieldType[]): number {
  return fieldLengths(types).reduce((sum, length) => sum + length, 0);
}

/** The value after a lone field's; undefined where it is the last, or is one that there are no ranges of. */
export function valueAfter(type: FieldType, value: Value): Value | undefined {
  if (typeof value === 'bigint') return value === LAST_IPV6 ? undefined : ((value + 1n) as Ipv6);
  if (typeof value !== 'number') return undefined;
  return value + 1 < 256 ** FIELDS[type].bytes ? value + 1 : undefined;
}

/** The value before, of one that {@link valueAfter} gave; before none is the last. */
export function valueBefore(type: FieldType, value: Value | undefined): Value {
  if (type === 'ipv6_addr') return typeof value === 'bigint' ? ((value - 1n) as Ipv6) : LAST_IPV6;
  return typeof value === 'number' ? value - 1 : 256 ** FIELDS[type].bytes - 1;
}

const LAST_IPV6 = ((1n << 128n) - 1n) as Ipv6;

/** @throws RangeError where there are more or fewer values than fields, or one does not fit its field */
export function writeFields(writer: MessageWriter, types: readonly FieldType[], values: readonly Value[]): void {
  if (types.length !== values.length) {
    throw new RangeError(`Cannot encode ${values.length} values: the set has ${types.length} fields`);
  }
  for (const [index, type] of types.entries()) {
    writeField(writer, type, values[index] ?? 0);
    if (types.length > 1) for (let pad = FIELDS[type].bytes; pad % 4 !== 0; pad++) writer.u8(0);
  }
}

function writeField(writer: MessageWriter, type: FieldType, value: Value): void {
  const { bytes, order } = FIELDS[type];
  if (typeof value === 'bigint') {
    if (bytes !== 16) throw new RangeError(`Cannot encode ${value} as ${type}`);
    writer.raw(ipv6Bytes(value));
  } else if (typeof value !== 'number') {
    if (value.length !== bytes) throw new RangeError(`Cannot encode ${value.length} bytes as ${type}`);
    writer.raw(value);
  } else if (!Number.isInteger(value) || value < 0 || value >= 256 ** bytes || bytes > 4) {
    throw new RangeError(`Cannot encode ${value} as ${type}`);
  } else if (bytes === 1) writer.u8(value);
  else if (bytes === 2) writer.u8(value >>> 8).u8(value & 255);
  else if (order === 'host') writer.u32(value);
  else writer.u32be(value);
}

/** @throws RangeError where there are fewer bytes than the fields have */
export function readFields(types: readonly FieldType[], bytes: Uint8Array): Value[] {
  if (bytes.length < keyLength(types)) {
    throw new RangeError(`Cannot decode ${bytes.length} bytes as ${types.join(' . ')}`);
  }
  let at = 0;
  return types.map((type) => {
    const field = FIELDS[type];
    const start = at;
    at += (field.bytes + 3) & ~3;
    if (field.bytes === 16) return ipv6Of(bytes.subarray(start, start + 16));
    if (field.bytes === 6) return bytes.slice(start, start + 6) as Mac;
    if (field.bytes === 1) return bytes[start] ?? 0;
    if (field.bytes === 2) return ((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0);
    const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(start, start + 4);
    return field.order === 'host'
      ? ((d << 24) | (c << 16) | (b << 8) | a) >>> 0
      : ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  });
}
