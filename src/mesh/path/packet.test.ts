import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WAYS } from '../way.ts';
import { OUTER, type Packet, readPacket, SMALLEST, writePacket } from './packet.ts';

const packet: fc.Arbitrary<Packet> = fc.record({
  kind: fc.constantFrom('ask', 'ask whole', 'answer'),
  way: fc.constantFrom(undefined, ...WAYS),
  carries: fc.integer({ min: 0, max: 0xffff }),
  epoch: fc.integer({ min: 0, max: 0xffffffff }),
  nonce: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});

it('survives writing and reading, in a packet of any length', () => {
  fc.assert(
    fc.property(packet, fc.integer({ min: 0, max: 9000 }), (one, length) => {
      const bytes = writePacket(one, length);
      expect(bytes.length + OUTER).toBe(Math.max(length, SMALLEST));
      expect(readPacket(bytes)).toEqual(one);
    }),
  );
});

it('is read from nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const read = readPacket(bytes);
      if (read !== undefined)
        expect(writePacket(read, bytes.length + OUTER).subarray(0, 20)).toEqual(bytes.subarray(0, 20));
    }),
  );
  const good = writePacket({ kind: 'ask', way: undefined, carries: 100, epoch: 1, nonce: 1n }, 100);
  for (const [at, value] of [
    [3, 2],
    [4, 0],
    [4, 4],
    [5, 4],
  ] as const) {
    const bytes = good.slice();
    bytes[at] = value;
    expect(readPacket(bytes)).toBeUndefined();
  }
});
