import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readAnswer, SMALLEST, writeEcho } from './echo.ts';

const NONCE = 0x0123_4567_89ab_cdefn;
const ip4 = (...rest: readonly number[]): Uint8Array => Uint8Array.of(0x45, ...Array(19).fill(0), ...rest);
const ip6 = (...rest: readonly number[]): Uint8Array => Uint8Array.of(0x60, ...Array(39).fill(0), ...rest);
const replied = (bytes: Uint8Array, type: number): Uint8Array => Uint8Array.of(type, ...bytes.subarray(1));

it('is as long as was wanted, with a checksum that comes to nothing', () => {
  for (const length of [0, 100, 1421]) {
    const bytes = writeEcho('inet', NONCE, length);
    expect(bytes.length).toBe(Math.max(length, SMALLEST.inet) - 20);
    let sum = 0;
    for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    expect(((sum & 0xffff) + (sum >>> 16)) & 0xffff).toBe(0xffff);
  }
  expect(writeEcho('inet6', NONCE, 1280).length).toBe(1240);
});

it('is answered by a reply, and by whoever quotes it', () => {
  const ask4 = writeEcho('inet', NONCE, 100);
  const ask6 = writeEcho('inet6', NONCE, 100);
  expect(readAnswer('inet', ip4(...replied(ask4, 0)))).toEqual({ nonce: NONCE, kind: 'whole' });
  expect(readAnswer('inet6', replied(ask6, 129))).toEqual({ nonce: NONCE, kind: 'whole' });
  const error = (type: number, code: number): number[] => [type, code, 0, 0, 0, 0, 0, 0];
  expect(readAnswer('inet', ip4(...error(11, 0), ...ip4(...ask4)))).toEqual({ nonce: NONCE, kind: 'short' });
  expect(readAnswer('inet', ip4(...error(3, 1), ...ip4(...ask4)))).toEqual({ nonce: NONCE, kind: 'short' });
  expect(readAnswer('inet6', Uint8Array.of(...error(3, 0), ...ip6(...ask6)))).toEqual({ nonce: NONCE, kind: 'short' });
  // too large is no answer, nor is what is asked of this host
  expect(readAnswer('inet', ip4(...error(3, 4), ...ip4(...ask4)))).toBeUndefined();
  expect(readAnswer('inet6', Uint8Array.of(...error(2, 0), ...ip6(...ask6)))).toBeUndefined();
  expect(readAnswer('inet', ip4(...ask4))).toBeUndefined();
});

it('is read from whatever comes', () => {
  fc.assert(
    fc.property(fc.constantFrom('inet', 'inet6'), fc.uint8Array({ maxLength: 120 }), (family, bytes) => {
      expect(() => readAnswer(family, bytes)).not.toThrow();
    }),
  );
});
