import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ipv6, parseIpv6 } from '../../addr/ipv6.ts';
import { type Mac, parseMac } from '../../addr/mac.ts';
import type { FieldType, Value } from '../../plan/ruleset.ts';
import { MessageWriter } from '../netlink/message.ts';
import { fieldTypes, keyLength, readFields, typeNumber, valueAfter, valueBefore, writeFields } from './field.ts';

function encodeValues(types: readonly FieldType[], values: readonly Value[]): Uint8Array {
  const writer = new MessageWriter();
  writeFields(writer, types, values);
  return writer.bytes;
}

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const field: fc.Arbitrary<[FieldType, Value]> = fc.oneof(
  fc.tuple(fc.constantFrom<FieldType>('ipv4_addr', 'mark', 'iface_index'), u32),
  fc.tuple(fc.constantFrom<FieldType>('icmp_type', 'icmpv6_type', 'inet_proto'), fc.integer({ min: 0, max: 255 })),
  fc.tuple(fc.constant<FieldType>('inet_service'), fc.integer({ min: 0, max: 0xffff })),
  fc.tuple(
    fc.constant<FieldType>('ipv6_addr'),
    fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => value as Ipv6),
  ),
  fc.tuple(
    fc.constant<FieldType>('ether_addr'),
    fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => bytes as Mac),
  ),
);

describe('fields of sets', () => {
  it('survive encoding and decoding', () => {
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 4 }), (fields) => {
        const types = fields.map(([type]) => type);
        const bytes = encodeValues(
          types,
          fields.map(([, value]) => value),
        );
        expect(bytes.length).toBe(keyLength(types));
        expect(readFields(types, bytes)).toEqual(fields.map(([, value]) => value));
        expect(fieldTypes(typeNumber(types))).toEqual(types);
      }),
    );
  });

  it('are laid out as the kernel compares them', () => {
    const mac = parseMac('02:cf:00:00:00:02');
    const bytes = encodeValues(['iface_index', 'ether_addr', 'ipv4_addr'], [10_001, mac, 0x0a0b0001]);
    expect(Buffer.from(bytes).toString('hex')).toBe('1127000002cf0000000200000a0b0001');
  });

  it('of an endpoint are padded one by one', () => {
    const bytes = encodeValues(['ipv6_addr', 'inet_proto', 'inet_service'], [parseIpv6('2001:db8::7'), 17, 51_820]);
    expect(Buffer.from(bytes).toString('hex')).toBe('20010db800000000000000000000000711000000ca6c0000');
  });

  it('have one after and one before, but for the last', () => {
    const last = ((1n << 128n) - 1n) as Ipv6;
    fc.assert(
      fc.property(field, ([type, value]) => {
        if (type === 'ether_addr') return;
        const after = valueAfter(type, value);
        expect(valueBefore(type, after)).toBe(value);
      }),
    );
    expect(valueAfter('ipv6_addr', last)).toBeUndefined();
    expect(valueAfter('ipv4_addr', 0xffffffff)).toBeUndefined();
    expect(valueBefore('ipv6_addr', undefined)).toBe(last);
  });

  it('are refused where a value does not fit', () => {
    expect(() => encodeValues(['ipv4_addr'], [1n as Ipv6])).toThrow('Cannot encode 1 as ipv4_addr');
    expect(() => encodeValues(['mark'], [2 ** 32])).toThrow('Cannot encode 4294967296 as mark');
    expect(() => encodeValues(['icmp_type'], [256])).toThrow('Cannot encode 256 as icmp_type');
    expect(() => encodeValues(['ether_addr'], [1])).toThrow('Cannot encode 1 as ether_addr');
    expect(() => encodeValues(['ipv4_addr', 'ipv4_addr'], [1])).toThrow('Cannot encode 1 values');
    expect(() => readFields(['ipv4_addr', 'mark'], new Uint8Array(4))).toThrow('Cannot decode 4 bytes');
    expect(() => fieldTypes(63)).toThrow('unknown field type');
  });
});
