import { expect, it } from 'vitest';
import { parsePrefix } from '../../addr/prefix.ts';
import type { BridgeUsage } from '../../ipam/bridge/usage.ts';
import { fillingText } from './filling.ts';

function usage(length: number, live: number, others: Partial<BridgeUsage> = {}): BridgeUsage {
  const { quarantined = 0, conflicts = 0, probing = 0 } = others;
  const free = 2 ** (32 - length) - 3 - live - quarantined - conflicts - probing;
  const range = parsePrefix(`10.8.64.0/${length}`);
  return { range, free, probing, live, quarantined, conflicts, left: 0, capacity: 0, nextFree_ms: undefined };
}

it('is said when a tenth of the addresses is left', () => {
  expect(fillingText(usage(24, 226), 0, false)).toBeUndefined();
  expect(fillingText(usage(24, 227), 0, false)).toBe(
    'The bridge is nearly full: it has left 26 of 253 addresses of 10.8.64.0/24 (227 are live, 0 in quarantine) ' +
      'and 796 of 1023 ports; remove sandboxes or set a larger ranges.bridge',
  );
  expect(fillingText(usage(24, 200, { quarantined: 20, conflicts: 7 }), 0, false)).toMatch(
    /26 of 253 .*\(200 are live, 20 in quarantine, 7 at which another answers\)/,
  );
  // being asked for is as good as free
  expect(fillingText(usage(24, 226, { probing: 27 }), 0, false)).toBeUndefined();
});

it('is said before it is full, however small the range', () => {
  for (const length of [20, 22, 24, 26, 28, 29]) {
    const addresses = Math.min(2 ** (32 - length) - 3, 1023);
    expect(fillingText(usage(length, 0), 0, false)).toBeUndefined();
    expect(fillingText(usage(length, addresses - 1), 0, false)).toBeDefined();
  }
});

it('is said when 1,000 ports are taken, by whomever', () => {
  expect(fillingText(usage(20, 999), 0, false)).toBeUndefined();
  expect(fillingText(usage(20, 1000), 0, false)).toMatch(/and 23 of 1023 ports; remove sandboxes$/);
  expect(fillingText(usage(20, 990), 10, false)).toMatch(/and 23 of 1023 ports/);
  expect(fillingText(usage(20, 1020), 10, false)).toMatch(/and 0 of 1023 ports/);
});

it('is not taken back on the border', () => {
  for (const live of [227, 226, 215]) expect(fillingText(usage(24, live), 0, true)).toBeDefined();
  expect(fillingText(usage(24, 213), 0, true)).toBeUndefined();
  expect(fillingText(usage(20, 990), 0, true)).toBeDefined();
  expect(fillingText(usage(20, 988), 0, true)).toBeUndefined();
});
