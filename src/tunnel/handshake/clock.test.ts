import { expect, it } from 'vitest';
import type { Key } from '../../plan/wireguard/key.ts';
import { clockTrouble } from './clock.ts';

const [one, other] = ['one', 'other'] as unknown as [Key, Key];
const NOW = Date.UTC(2030, 0, 2);
const HOUR = 3_600_000;
const trouble = (last: readonly [Key, number][], peers: readonly Key[], madeMs = 0): string | undefined =>
  clockTrouble({ nowMs: NOW, lastMs: new Map(last), madeMs }, peers);

it('explains a silence where the last handshake was later by the same clock', () => {
  expect(trouble([[one, NOW + 5 * HOUR]], [one])).toBe(
    'this host’s clock says 2030-01-02T00:00:00Z, which is 5 h before its last handshake with this peer (2030-01-02T05:00:00Z): a peer is silent to a handshake that seems no later than the last one; set the clock',
  );
  expect(trouble([[one, NOW + 90_000]], [one])).toContain('90 s before');
  expect(trouble([[one, NOW - 1]], [one])).toBeUndefined();
  expect(trouble([], [one])).toBeUndefined();
});

it('does not where another peer has no reason to be silent', () => {
  expect(trouble([[one, NOW + HOUR]], [one, other])).toBeUndefined();
  expect(trouble([[other, NOW + HOUR]], [one])).toBeUndefined();
});

it('explains it where the clock is before all that can be', () => {
  expect(trouble([], [one], NOW + 400 * 24 * HOUR)).toContain('before this program was made (2031-02-06T00:00:00Z)');
  // somebody’s zone
  expect(trouble([], [one], NOW + 12 * HOUR)).toBeUndefined();
});
