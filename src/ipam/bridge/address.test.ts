import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { formatPrefix, parsePrefix } from '../../addr/prefix.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { claim } from '../allocator.ts';
import { type Lease, parseSandboxId, parseSlot } from '../lease.ts';
import { enterQuarantine, markFlushed, onBoot, releaseDue } from '../quarantine.ts';
import { openStore, type Store } from '../store.ts';
import { advance, assign, listLeases, listWarm } from '../transition.ts';
import { clearConflicts, listConflicts, recordConflict } from './conflict.ts';
import { awaitingProbe, markProbed, unheldAddresses } from './probe.ts';
import { bridgeRange, setBridgeRange } from './range.ts';
import { bridgeUsage } from './usage.ts';

const slots = { first: parseSlot(1), last: parseSlot(32767) };
const seen = { mac: parseMac('52:54:00:00:00:01'), reason: 'answers a probe' };
let folder: string;
let clock: HandClock;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-bridge-'));
  clock = new HandClock();
  store = openStore(join(folder, 'leases.db'), clock);
});
afterEach(() => {
  store[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** The wire was asked about every address, and nobody answered. */
function passProbes(): void {
  markProbed(store, awaitingProbe(store, 4096));
}

/** Of addresses that were all probed. */
function claimBridge(count: number): Lease[] {
  passProbes();
  return claim(
    store,
    Array.from({ length: count }, () => ({ topology: 'bridge' as const })),
    slots,
  );
}

/** Through every state until the slot is free. */
function free(leases: readonly Lease[]): void {
  for (const lease of leases) {
    advance(store, lease, 'removing');
    enterQuarantine(store, lease, { floor_ms: 0 });
    markFlushed(store, [lease]);
    expect(releaseDue(store, 1)).toHaveLength(1);
  }
}

const addresses = (leases: readonly Lease[]): string[] =>
  leases.map(({ bridgeAddress }) => (bridgeAddress === undefined ? 'none' : formatIpv4(bridgeAddress)));

/** The code of the CulvertError that `body` throws, and its message. */
function refusal(body: () => unknown): string[] {
  try {
    body();
  } catch (error) {
    if (error instanceof CulvertError) return [error.code, error.message];
    throw error;
  }
  return ['accepted'];
}

describe('the range', () => {
  it('is all but the network, the gateway and the broadcast', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/24'));
    const leases = claimBridge(253);
    expect(addresses(leases)).toEqual(Array.from({ length: 253 }, (_, index) => `10.8.64.${index + 2}`));
    expect(listLeases(store)).toEqual(leases);
    expect(bridgeUsage(store)).toMatchObject({ free: 0, live: 253, left: 0, capacity: 253 });
  });

  it('is of 1 to 4093 addresses, anywhere', () => {
    for (const text of ['10.0.0.0/19', '10.0.0.0/31']) {
      expect(() => setBridgeRange(store, parsePrefix(text))).toThrow(InputError);
      expect(bridgeRange(store)).toBeUndefined();
    }
    for (const [text, capacity, total] of [
      ['255.255.255.252/30', 1, 1],
      ['0.0.0.0/20', 1023, 4093],
    ] as const) {
      setBridgeRange(store, parsePrefix(text));
      passProbes();
      expect(bridgeUsage(store)).toMatchObject({ range: parsePrefix(text), free: total, left: capacity, capacity });
    }
  });

  it('must be set before an address is claimed', () => {
    expect(refusal(() => claimBridge(1))[0]).toBe('bridge_range_unset');
    expect(refusal(() => bridgeUsage(store))[0]).toBe('bridge_range_unset');
    expect(claim(store, [{ topology: 'netns' }], slots)[0]?.bridgeAddress).toBeUndefined();
  });

  it('stays while one address of it is held, in quarantine too, and says what to do', () => {
    const next = parsePrefix('10.9.0.0/24');
    setBridgeRange(store, parsePrefix('10.8.64.0/24'));
    const [one, two] = claimBridge(2) as [Lease, Lease];
    advance(store, one, 'removing');
    enterQuarantine(store, one);
    expect(refusal(() => setBridgeRange(store, next))).toEqual([
      'bridge_range_held',
      'Cannot change the bridge range from 10.8.64.0/24 to 10.9.0.0/24: 1 live and 1 quarantined leases hold ' +
        'addresses of it; keep it, or remove the sandboxes on the bridge and wait for their quarantine',
    ]);
    setBridgeRange(store, parsePrefix('10.8.64.0/24'));
    markFlushed(store, [one]);
    clock.monotonic += 1000;
    releaseDue(store, 1);
    free([two]);
    setBridgeRange(store, next);
    expect(formatPrefix(bridgeUsage(store).range)).toBe('10.9.0.0/24');
    expect(addresses(claimBridge(1))).toEqual(['10.9.0.2']);
  });

  it('takes along what it shares with the one before: places in the queue, and conflicts', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    free(claimBridge(1));
    for (const host of [4, 6]) recordConflict(store, parseIpv4(`10.8.64.${host}`), seen);
    setBridgeRange(store, parsePrefix('10.8.64.0/28'));
    expect(listConflicts(store).map(({ address }) => formatIpv4(address))).toEqual(['10.8.64.4', '10.8.64.6']);
    const hosts = [3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 2];
    const leases = claimBridge(11);
    expect(addresses(leases)).toEqual(hosts.map((host) => `10.8.64.${host}`));
    free(leases);
    setBridgeRange(store, parsePrefix('10.8.64.0/30'));
    expect(listConflicts(store)).toEqual([]);
    expect(addresses(claimBridge(1))).toEqual(['10.8.64.2']);
  });
});

describe('an address', () => {
  it('is held until its lease is out of quarantine, through removal, restart and boot, and used again last', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    const [lease] = claimBridge(1) as [Lease];
    advance(store, lease, 'removing');
    clock.bootId = 'boot-1';
    store.close();
    store = openStore(store.path, clock);
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    onBoot(store, { floor_ms: 0 });
    expect(listLeases(store)).toMatchObject([{ state: 'quarantined', bridgeAddress: lease.bridgeAddress }]);
    expect(addresses(claimBridge(4))).toEqual(['10.8.64.3', '10.8.64.4', '10.8.64.5', '10.8.64.6']);
    expect(refusal(() => claimBridge(1))[0]).toBe('bridge_exhausted');
    expect(releaseDue(store, 9)).toMatchObject([{ bridgeAddress: lease.bridgeAddress }]);
    expect(addresses(claimBridge(1))).toEqual(['10.8.64.2']);
  });

  it('is refused with what holds the others and when the next is free, and nothing is taken', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    const [, waiting, contested, alone] = claimBridge(5) as [Lease, Lease, Lease, Lease];
    free([alone]);
    recordConflict(store, parseIpv4('10.8.64.5'), seen);
    for (const lease of [waiting, contested]) {
      advance(store, lease, 'removing');
      enterQuarantine(store, lease, { floor_ms: lease === waiting ? 900 : 100 });
    }
    const found = '0 free, 2 live, 2 quarantined, 1 at which another answers';
    expect(refusal(() => claimBridge(2))).toEqual([
      'bridge_exhausted',
      `Cannot claim 2 bridge addresses of 10.8.64.0/29: ${found}; none is free before a removal or flush`,
    ]);
    markFlushed(store, [waiting, contested]);
    // The slot of this one is free first, but its address will not be.
    recordConflict(store, parseIpv4('10.8.64.4'), seen);
    expect(refusal(() => claimBridge(1))[1]).toBe(
      `Cannot claim a bridge address of 10.8.64.0/29: ${found}; the next is free in 900 ms`,
    );
    expect(bridgeUsage(store)).toMatchObject({ left: 0, capacity: 4, nextFree_ms: 900 });
    expect(listLeases(store)).toHaveLength(4);
  });

  it('is of no use without a port, of which the bridge has 1023', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/21'));
    const leases = claimBridge(1022);
    expect(bridgeUsage(store)).toMatchObject({ free: 1023, live: 1022, left: 1, capacity: 1023 });
    const message = (what: string, live: number): string[] => [
      'bridge_exhausted',
      `Cannot put ${what} on the bridge: ${live} of its 1023 ports are taken; remove some first`,
    ];
    expect(refusal(() => claimBridge(2))).toEqual(message('2 sandboxes', 1022));
    leases.push(...claimBridge(1));
    expect(refusal(() => claimBridge(1))).toEqual(message('a sandbox', 1023));
    // A lease in quarantine keeps its address and has no port.
    const [gone] = leases as [Lease];
    advance(store, gone, 'removing');
    expect(refusal(() => claimBridge(1))[0]).toBe('bridge_exhausted');
    enterQuarantine(store, gone);
    expect(addresses(claimBridge(1))).toEqual(['10.8.68.1']);
  });
});

describe('an address that the wire was not asked about', () => {
  const texts = (): string[] => awaitingProbe(store, 9).map(formatIpv4);
  const refused = (): string[] => refusal(() => claim(store, [{ topology: 'bridge' }], slots));

  it('is not handed out, new in the range as let go', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    expect(bridgeUsage(store)).toMatchObject({ free: 0, probing: 5, left: 0, capacity: 5 });
    expect(refused()).toEqual([
      'bridge_exhausted',
      'Cannot claim a bridge address of 10.8.64.0/29: 0 free, 0 live, 0 quarantined, 5 being probed; ' +
        'the next is free in 7000 ms',
    ]);
    expect(texts()).toEqual(['10.8.64.2', '10.8.64.3', '10.8.64.4', '10.8.64.5', '10.8.64.6']);
    markProbed(store, [parseIpv4('10.8.64.4')]);
    const leases = claim(store, [{ topology: 'bridge' }], slots);
    expect(addresses(leases)).toEqual(['10.8.64.4']);
    free(leases);
    expect(refused()[0]).toBe('bridge_exhausted');
    // the last that was let go waits behind the others
    expect(texts()).toEqual(['10.8.64.2', '10.8.64.3', '10.8.64.5', '10.8.64.6', '10.8.64.4']);
    expect(awaitingProbe(store, 2)).toHaveLength(2);
  });

  it('waits through a restart', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    free(claimBridge(1));
    store.close();
    store = openStore(store.path, clock);
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    expect(texts()).toEqual(['10.8.64.2']);
    expect(unheldAddresses(store)).toHaveLength(5);
  });

  it('does not become free by an answer that comes too late', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    const [lease] = claimBridge(1) as [Lease];
    recordConflict(store, parseIpv4('10.8.64.3'), seen);
    markProbed(store, [parseIpv4('10.8.64.2'), parseIpv4('10.8.64.3'), parseIpv4('192.0.2.1')]);
    free([lease]);
    expect(texts()).toEqual(['10.8.64.2']);
    expect(bridgeUsage(store)).toMatchObject({ free: 3, probing: 1, conflicts: 1 });
    // a probe of it ends a conflict
    clearConflicts(store, [parseIpv4('10.8.64.3')]);
    expect(bridgeUsage(store)).toMatchObject({ free: 4, probing: 1, conflicts: 0 });
  });
});

describe('an address at which another answers', () => {
  it('is not handed out before a clean probe, whatever time passes and however often the host boots', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    recordConflict(store, parseIpv4('10.8.64.2'), seen);
    clock.monotonic += 1e9;
    clock.bootId = 'boot-1';
    onBoot(store);
    expect(addresses(claimBridge(4))).toEqual(['10.8.64.3', '10.8.64.4', '10.8.64.5', '10.8.64.6']);
    expect(refusal(() => claimBridge(1))[0]).toBe('bridge_exhausted');
    clearConflicts(store, [parseIpv4('10.8.64.2')]);
    expect(addresses(claimBridge(1))).toEqual(['10.8.64.2']);
  });

  it('says who, why and since when, the last seen', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    const [{ slot }] = claimBridge(1) as [Lease];
    recordConflict(store, parseIpv4('10.8.64.2'), seen);
    clock.wall += 5;
    const later = { mac: parseMac('02:00:00:00:00:07'), reason: 'claimed' };
    for (const host of [3, 2]) recordConflict(store, parseIpv4(`10.8.64.${host}`), later);
    expect(listConflicts(store)).toEqual([
      { address: parseIpv4('10.8.64.2'), ...later, sinceWallMs: clock.wall, slot },
      { address: parseIpv4('10.8.64.3'), ...later, sinceWallMs: clock.wall, slot: undefined },
    ]);
  });

  it('stays behind where its lease leaves quarantine', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/30'));
    const leases = claimBridge(1);
    recordConflict(store, parseIpv4('10.8.64.2'), seen);
    free(leases);
    expect(listLeases(store)).toEqual([]);
    expect(bridgeUsage(store)).toMatchObject({ free: 0, conflicts: 1, capacity: 0, nextFree_ms: undefined });
    clearConflicts(store, [parseIpv4('10.8.64.2')]);
    expect(addresses(claimBridge(1))).toEqual(['10.8.64.2']);
  });

  it('keeps its warm lease from being handed out', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    const leases = claimBridge(2) as [Lease, Lease];
    for (const lease of leases) advance(store, lease, 'warm');
    recordConflict(store, parseIpv4('10.8.64.2'), seen);
    expect(addresses(listWarm(store, 'bridge', 9))).toEqual(['10.8.64.3']);
    expect(refusal(() => assign(store, leases[0], parseSandboxId('a'), '{}'))).toEqual([
      'lease_state',
      'Cannot assign it to "a": slot 1 (generation 1) is warm of nobody, generation 1, and another answers at its ' +
        'address 10.8.64.2',
    ]);
    clearConflicts(store, [parseIpv4('10.8.64.2')]);
    assign(store, leases[0], parseSandboxId('a'), '{}');
  });

  it('is one that a sandbox may have, and is cleared once, all or none', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/29'));
    for (const host of [0, 1, 7, 8]) {
      const address = parseIpv4(`10.8.64.${host}`);
      expect(refusal(() => recordConflict(store, address, seen))[0]).toBe('unknown_address');
    }
    const address = parseIpv4('10.8.64.2');
    expect(refusal(() => recordConflict(store, address, { ...seen, reason: '' }))[0]).toBe('invalid_reason');
    recordConflict(store, address, seen);
    expect(refusal(() => clearConflicts(store, [address, parseIpv4('10.8.64.3')]))[0]).toBe('address_state');
    expect(listConflicts(store)).toHaveLength(1);
  });
});

describe('the tables', () => {
  const change = (...statements: string[]): string =>
    refusal(() =>
      store.transaction('full', () => {
        for (const sql of statements) store.run(sql);
      }),
    )[1] ?? 'accepted';

  it('hold an address for one lease alone, and only where both say so', () => {
    setBridgeRange(store, parsePrefix('10.8.64.0/24'));
    claimBridge(2);
    const second = parseIpv4('10.8.64.3');
    const third = parseIpv4('10.8.64.4');
    expect(change(`UPDATE lease SET bridge_address = ${second} WHERE slot = 1`)).toMatch(/UNIQUE/);
    expect(change(`UPDATE lease SET bridge_address = ${third} WHERE slot = 1`)).toMatch(/FOREIGN KEY/);
    expect(change(`UPDATE lease SET bridge_address = NULL WHERE slot = 1`)).toMatch(/CHECK/);
    expect(change(`UPDATE lease SET bridge_address = NULL, topology = 'netns' WHERE slot = 1`)).toMatch(/FOREIGN KEY/);
    expect(change(`UPDATE bridge_address SET held = NULL, free_order = 1 WHERE address = ${second}`)).toMatch(
      /FOREIGN/,
    );
    expect(change(`UPDATE bridge_address SET held = ${third}, free_order = NULL WHERE address = ${third}`)).toMatch(
      /FOREIGN KEY/,
    );
    expect(change(`DELETE FROM bridge_address WHERE address = ${second}`)).toMatch(/FOREIGN KEY/);
    expect(
      change(
        `UPDATE lease SET bridge_address = NULL, topology = 'netns' WHERE slot = 1`,
        `UPDATE bridge_address SET held = NULL, free_order = 1 WHERE address = ${parseIpv4('10.8.64.2')}`,
      ),
    ).toBe('accepted');
  });
});
