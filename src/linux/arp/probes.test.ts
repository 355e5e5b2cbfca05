import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { Probes } from './probes.ts';
import { RFC_5227 } from './timing.ts';

const address = fc.nat(4).map((value) => value as Ipv4);
const step = fc.oneof(
  fc.record({ kind: fc.constant('advance' as const), byMs: fc.nat(3000) }),
  fc.record({ kind: fc.constantFrom('start' as const, 'claim' as const, 'cancel' as const), address }),
);

/** More than all the waits of one address. */
const WHOLE_MS = 10_000;

it('asks as RFC 5227 says, and calls free only what nobody claimed', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.99, noNaN: true })),
      (steps, chance) => {
        const probes = new Probes(RFC_5227, () => Number(chance.next().value));
        // for each that is asked for: when it began, and when a probe was sent
        const asked = new Map<Ipv4, { begunMs: number | undefined; sentMs: number[] }>();
        let nowMs = 0;
        const advance = (): void => {
          const { send, free } = probes.advance(nowMs, 3);
          expect(send.length).toBeLessThanOrEqual(3);
          for (const probe of asked.values()) probe.begunMs ??= nowMs;
          for (const one of send) {
            const { begunMs = Number.NaN, sentMs = [] } = asked.get(one) ?? {};
            const last = sentMs.at(-1);
            if (last !== undefined) expect(nowMs - last).toBeGreaterThanOrEqual(RFC_5227.probeMinMs);
            expect(nowMs).toBeGreaterThanOrEqual(begunMs);
            sentMs.push(nowMs);
          }
          for (const one of free) {
            const sentMs = asked.get(one)?.sentMs ?? [];
            expect(sentMs).toHaveLength(RFC_5227.probeNum);
            expect(nowMs - (sentMs.at(-1) ?? Number.NaN)).toBeGreaterThanOrEqual(RFC_5227.announceWaitMs);
            asked.delete(one);
          }
        };
        for (const one of steps) {
          if (one.kind === 'advance') {
            nowMs += one.byMs;
            advance();
            continue;
          }
          if (one.kind === 'start') {
            probes.start(one.address);
            if (!asked.has(one.address)) asked.set(one.address, { begunMs: undefined, sentMs: [] });
            continue;
          }
          const hasBegun = asked.get(one.address)?.begunMs !== undefined;
          if (one.kind === 'claim') expect(probes.claim(one.address)).toBe(hasBegun);
          else probes.cancel(one.address);
          if (one.kind === 'cancel' || hasBegun) asked.delete(one.address);
        }
        expect(probes.size).toBe(asked.size);
        for (const endMs = nowMs + WHOLE_MS; nowMs < endMs; nowMs += 100) advance();
        expect(probes.size).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

it('takes no longer than the RFC', () => {
  const { probeWaitMs, probeNum, probeMaxMs, announceWaitMs } = RFC_5227;
  const probes = new Probes(RFC_5227, () => 0.999);
  probes.start(1 as Ipv4);
  let nowMs = 0;
  while (probes.advance(nowMs, 1).free.length === 0) nowMs += 10;
  expect(nowMs).toBeLessThanOrEqual(probeWaitMs + (probeNum - 1) * probeMaxMs + announceWaitMs + 10 * (probeNum + 1));
});

it('gives up what has begun, and nothing else', () => {
  const probes = new Probes(RFC_5227, () => 0);
  probes.start(1 as Ipv4);
  probes.advance(0, 1);
  probes.start(2 as Ipv4);
  expect(probes.abandon()).toEqual([1]);
  expect(probes.size).toBe(1);
  expect(probes.has(2 as Ipv4)).toBe(true);
});
