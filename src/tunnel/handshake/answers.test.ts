import { expect, it } from 'vitest';
import { parseEndpoint } from '../../plan/wireguard/endpoint.ts';
import { kindOf } from './answers.ts';

const FOUR = parseEndpoint('192.0.2.1:51820');
const SIX = parseEndpoint('[2001:db8::1]:51820');

const udp = (from: number, type: number, length: number): number[] => [
  from >>> 8,
  from & 255,
  0,
  9,
  (length + 8) >>> 8,
  (length + 8) & 255,
  0,
  0,
  type,
  ...Array<number>(Math.max(0, length - 1)).fill(0),
];

it('is told by type and length, of the endpoint’s port', () => {
  const ip = [0x45, ...Array<number>(19).fill(0)];
  const long = [0x46, ...Array<number>(23).fill(0)];
  const kind4 = (...bytes: readonly number[]): unknown => kindOf(Uint8Array.from(bytes), FOUR);
  expect(kind4(...ip, ...udp(51_820, 2, 92))).toBe('responses');
  expect(kind4(...long, ...udp(51_820, 3, 64))).toBe('cookies');
  expect(kind4(...ip, ...udp(51_820, 1, 148))).toBe('initiations');
  expect(kind4(...ip, ...udp(51_821, 2, 92))).toBeUndefined();
  expect(kind4(...ip, ...udp(51_820, 2, 93))).toBeUndefined();
  expect(kind4(...ip, ...udp(51_820, 4, 32))).toBeUndefined();
  expect(kindOf(Uint8Array.from(udp(51_820, 2, 92)), SIX)).toBe('responses');
});

it('is none in what is too short', () => {
  for (let length = 0; length < 29; length++) expect(kindOf(new Uint8Array(length), FOUR)).toBeUndefined();
});
