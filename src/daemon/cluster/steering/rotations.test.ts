import { expect, it } from 'vitest';
import type { HostKey } from '../../../mesh/peers.ts';
import { parseKey } from '../../../plan/wireguard/key.ts';
import { Rotations } from './rotations.ts';

function keys(...kept: readonly number[]): { readonly keys: readonly HostKey[] } {
  const publicKey = parseKey(Buffer.alloc(32, 1).toString('base64'));
  return { keys: kept.map((rotation) => ({ rotation, publicKey, port: 51820 })) };
}

it('has two sets at the most, and knows whether others were told', () => {
  const rotations = new Rotations([9]);
  expect([rotations.isOne, rotations.areTold]).toEqual([true, true]);
  rotations.begin(10);
  expect([rotations.used, rotations.told, rotations.areTold]).toEqual([[9, 10], [9], false]);
  rotations.tell(rotations.used);
  expect(rotations.areTold).toBe(true);
  rotations.begin(11);
  expect(rotations.used).toEqual([10, 11]);
  rotations.keepOnly(11);
  expect([rotations.isOne, rotations.used]).toEqual([true, [11]]);
});

it('has the ways that both hosts have keys for', () => {
  const rotations = new Rotations([4, 5]);
  expect(rotations.haveWay(keys(5), 'odd')).toBe(true);
  expect(rotations.haveWay(keys(5), 'even')).toBe(false);
  // its device is the same, the keys are not
  expect(rotations.haveWay(keys(6), 'even')).toBe(false);
  expect(rotations.haveWay(keys(), 'clear')).toBe(true);
});

it('begins with the current keys where both have them, and else with the latest of both', () => {
  const rotations = new Rotations([4, 5]);
  expect(rotations.commonWay(keys(4, 5), 4)).toBe('even');
  expect(rotations.commonWay(keys(4, 5), 6)).toBe('odd');
  expect(rotations.commonWay(keys(4), 5)).toBe('even');
});
