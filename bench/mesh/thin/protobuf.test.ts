import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decode, encode, type Value } from './protobuf.ts';

it('reads what it writes', () => {
  const value = fc.oneof(fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), value)), (fields: [number, Value][]) => {
      const read: [number, bigint | Uint8Array][] = [];
      decode(encode(...fields), (field, one) =>
        read.push([field, typeof one === 'bigint' ? one : new Uint8Array(one)]),
      );
      expect(read).toEqual(
        fields.map(([field, one]) => [field, typeof one === 'bigint' ? one : new Uint8Array(one as Uint8Array)]),
      );
    }),
  );
});
