import fc from 'fast-check';
import { addIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { type Mac, parseMac } from '../../addr/mac.ts';
import { type Prefix, parsePrefix } from '../../addr/prefix.ts';
import type { LeaseRequest } from '../allocator.ts';
import { parseSandboxId, type SandboxId, TOPOLOGIES } from '../lease.ts';

/** Fewer than there are slots, so that owners come back while they hold a lease. */
export const IDS = ['a', 'b', 'c-1', 'd', '0'].map((id) => parseSandboxId(id));
export const SLOTS = 8;

interface Handed {
  readonly which: number;
  readonly to: 'creating' | 'ready';
  readonly sandboxId: SandboxId;
  readonly specification: string;
}

/** `which` is a lease ever given out, counted back from the last. */
export type Operation =
  | {
      readonly do: 'claim' | 'crash before the commit' | 'claim while locked' | 'claim elsewhere';
      readonly requests: readonly LeaseRequest[];
    }
  | { readonly do: 'advance'; readonly which: number; readonly to: 'warm' | 'ready' | 'removing' }
  | { readonly do: 'claim on a full disk'; readonly requests: readonly LeaseRequest[] }
  | { readonly do: 'assign'; readonly to: readonly Handed[] }
  | { readonly do: 'hand out'; readonly topology: LeaseRequest['topology']; readonly to: readonly Handed[] }
  | { readonly do: 'specify'; readonly which: number; readonly specification: string }
  | { readonly do: 'quarantine'; readonly which: number; readonly floor_ms: number }
  | { readonly do: 'flush'; readonly which: readonly number[] }
  | { readonly do: 'rest again'; readonly which: readonly number[]; readonly floor_ms: number }
  | { readonly do: 'release'; readonly limit: number }
  | { readonly do: 'bridge range'; readonly range: Prefix }
  | { readonly do: 'conflict'; readonly address: Ipv4; readonly seen: { readonly mac: Mac; readonly reason: string } }
  | { readonly do: 'probed clean'; readonly addresses: readonly Ipv4[] }
  | { readonly do: 'probed'; readonly limit: number; readonly late: readonly Ipv4[] }
  | { readonly do: 'time passes' | 'wall clock jumps' | 'boot'; readonly ms: number }
  | { readonly do: 'start' | 'reopen' | 'crash' };

// Small numbers are the latest leases, so that most steps find the state they want and some find a lease long gone.
const which = fc.integer({ min: 0, max: 8 });
const sandboxId = fc.constantFrom(...IDS);
const topology = fc.constantFrom(...TOPOLOGIES);
const specification = fc.constantFrom('{}', '{"policy":"none"}', '["é"]');
const request = fc.oneof(fc.record({ topology }), fc.record({ topology, sandboxId, specification }));
const requests = fc.array(request, { minLength: 1, maxLength: 4 });
/** Such that the database must grow. */
const large = fc.constantFrom(JSON.stringify('x'.repeat(16_000)));
const largeRequests = fc.array(fc.record({ topology, sandboxId, specification: large }), {
  minLength: 1,
  maxLength: 2,
});
const tooMany = Array.from({ length: SLOTS + 1 }, () => ({ topology: 'netns' }));
const handed = (minLength: number): fc.Arbitrary<Handed[]> =>
  fc.array(fc.record({ which, to: fc.constantFrom('creating', 'ready'), sandboxId, specification }), {
    minLength,
    maxLength: 3,
  });

// Of one, five and thirteen addresses for eight slots; the third shares none with the second.
const ranges = ['10.8.64.0/29', '10.8.64.0/29', '10.8.64.0/30', '10.8.64.8/29', '10.8.64.0/28', '10.8.64.0/31'];
const address = fc.integer({ min: 0, max: 9 }).map((host) => addIpv4(parseIpv4('10.8.64.0'), host));
const seen = fc.record({
  mac: fc.constantFrom(parseMac('02:cb:0a:08:40:02'), parseMac('52:54:00:00:00:01')),
  reason: fc.constantFrom('answers a probe', 'claimed by a sandbox'),
});

function weigh(weight: number, name: Operation['do'], fields: Record<string, fc.Arbitrary<unknown>> = {}) {
  return { weight, arbitrary: fc.record({ do: fc.constant(name), ...fields }) };
}

export const operation = fc.oneof(
  weigh(80, 'claim', { requests }),
  weigh(1, 'claim', { requests: fc.constantFrom([], tooMany) }),
  weigh(1, 'crash before the commit', { requests }),
  weigh(4, 'claim while locked', { requests }),
  weigh(4, 'claim elsewhere', { requests }),
  weigh(4, 'claim on a full disk', { requests: largeRequests }),
  weigh(140, 'advance', { which, to: fc.constantFrom('warm', 'ready', 'removing') }),
  weigh(10, 'assign', { to: handed(0) }),
  weigh(15, 'hand out', { topology, to: handed(1) }),
  weigh(15, 'specify', { which, specification }),
  weigh(60, 'quarantine', { which, floor_ms: fc.integer({ min: 0, max: 2000 }) }),
  weigh(50, 'flush', { which: fc.array(which, { maxLength: 2 }) }),
  weigh(10, 'rest again', { which: fc.array(which, { maxLength: 2 }), floor_ms: fc.integer({ min: 0, max: 2000 }) }),
  weigh(60, 'release', { limit: fc.integer({ min: 1, max: SLOTS }) }),
  weigh(8, 'bridge range', { range: fc.constantFrom(...ranges.map((text) => parsePrefix(text))) }),
  weigh(12, 'conflict', { address, seen }),
  weigh(20, 'probed clean', { addresses: fc.array(address, { maxLength: 2 }) }),
  weigh(60, 'probed', { limit: fc.integer({ min: 1, max: 6 }), late: fc.array(address, { maxLength: 1 }) }),
  weigh(40, 'time passes', { ms: fc.integer({ min: -300, max: 3000 }) }),
  weigh(10, 'wall clock jumps', { ms: fc.integer({ min: -1e11, max: 1e11 }) }),
  weigh(4, 'boot', { ms: fc.integer({ min: 0, max: 5000 }) }),
  weigh(10, 'start'),
  weigh(1, 'reopen'),
  weigh(1, 'crash'),
) as fc.Arbitrary<Operation>;
