import type { FieldType, Value } from '../../plan/ruleset.ts';

/*
 * Keys and data as the kernel compares them: each field is padded to whole registers of four bytes. The numbers of the
 * types mean nothing to the kernel, nft(8) shows fields by them; they are listed in set.go of google/nftables.
 */

const FIELDS = {
  ipv4_addr: { number: 7, bytes: 4, order: 'network' },
  ether_addr: { number: 9, bytes: 6, order: 'network' },
  icmp_type: { number: 14, bytes: 1, order: 'network' },
  mark: { number: 19, bytes: 4, order: 'host' },
  iface_index: { number: 20, bytes: 4, order: 'host' },
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

/** @throws RangeError where there are more or fewer values than fields, or one does not fit its field */
export function encodeValues(types: readonly FieldType[], values: readonly Value[]): Uint8Array {
  if (types.length !== values.length) {
    throw new RangeError(`Cannot encode ${values.length} values: the set has ${types.length} fields`);
  }
  const lengths = fieldLengths(types);
  const bytes = new Uint8Array(keyLength(types));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [index, type] of types.entries()) {
    writeField(bytes, view, at, type, values[index] ?? 0);
    at += lengths[index] ?? 0;
  }
  return bytes;
}

function writeField(bytes: Uint8Array, view: DataView, at: number, type: FieldType, value: Value): void {
  const field = FIELDS[type];
  if (typeof value !== 'number') {
    if (value.length !== field.bytes) throw new RangeError(`Cannot encode ${value.length} bytes as ${type}`);
    bytes.set(value, at);
  } else if (!Number.isInteger(value) || value < 0 || value >= 256 ** field.bytes || field.bytes > 4) {
    throw new RangeError(`Cannot encode ${value} as ${type}`);
  } else if (field.bytes === 1) bytes[at] = value;
  else view.setUint32(at, value, field.order === 'host');
}

/** @throws RangeError where there are more or fewer bytes than the fields have */
export function decodeValues(types: readonly FieldType[], bytes: Uint8Array): Value[] {
  if (bytes.length < keyLength(types)) {
    throw new RangeError(`Cannot decode ${bytes.length} bytes as ${types.join(' . ')}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const lengths = fieldLengths(types);
  let at = 0;
  return types.map((type, index) => {
    const field = FIELDS[type];
    const start = at;
    at += lengths[index] ?? 0;
    if (field.bytes === 1) return view.getUint8(start);
    if (field.bytes === 4) return view.getUint32(start, field.order === 'host');
    return bytes.slice(start, start + field.bytes) as Exclude<Value, number>;
  });
}
