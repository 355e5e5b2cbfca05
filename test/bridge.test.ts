import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RawLink } from '../lab/raw-link.ts';
import { formatIpv4, parseIpv4 } from '../src/addr/ipv4.ts';
import { formatMac } from '../src/addr/mac.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import type { CoreOptions } from '../src/daemon/core-options.ts';
import { ARPOP_REQUEST, readArpFrame } from '../src/linux/arp/packet.ts';
import type { ArpTiming } from '../src/linux/arp/timing.ts';
import { bridgeMac, DEFAULT_LAYOUT } from '../src/sandbox/topology/layout.ts';
import { LabDaemon } from './support/lab-daemon.ts';
import { rawLink, Stranger } from './support/stranger.ts';

/*
 *   sandbox a ── s1 ┐
 *   sandbox b ── s2 ├─ rt0 10.8.64.1 ── router
 *   stranger ── lan0 ┘
 */

/** As RFC 5227, but faster. An answer comes in microseconds, and it is read before its time is over. */
const FAST: ArpTiming = {
  probeWaitMs: 5,
  probeNum: 3,
  probeMinMs: 5,
  probeMaxMs: 10,
  announceWaitMs: 200,
  announceNum: 2,
  announceIntervalMs: 20,
};

/** Of five addresses, 10.8.64.2 to .6. */
const SMALL = parsePrefix('10.8.64.0/29');

const timeout = 120_000;

let daemon: LabDaemon;
let stranger: Stranger | undefined;

function begin(options: Partial<CoreOptions> = {}): void {
  const layout = { ...DEFAULT_LAYOUT, bridgeRange: SMALL, mtu: 1420 };
  daemon = new LabDaemon({
    host: { instance: 'lab', layout, uplink: 'eth0', inbound: [] },
    arpTiming: FAST,
    ...options,
  });
}

/** Somebody who has these addresses. */
function plugIn(...addresses: string[]): Stranger {
  stranger = new Stranger(daemon.lab, join(daemon.lab.folder, 'run', 'netns', 'router'), ...addresses);
  return stranger;
}

function create(id: string): string {
  return formatIpv4(daemon.create(id, 'bridge').hostAddress);
}

type Heard = { readonly operation: number; readonly mac: string; readonly sender: string; readonly target: string };

/** What `pick` makes of the ARP that arrives while the daemon goes on, so many of it. */
async function heard<T>(frames: RawLink, count: number, pick: (arp: Heard) => T | undefined): Promise<T[]> {
  const steps = setInterval(() => daemon.with((core) => core.step()), 1);
  try {
    let left = count;
    const read = (bytes: Uint8Array): T | undefined => {
      const packet = readArpFrame(bytes)?.packet;
      if (packet === undefined) return undefined;
      const { operation, senderMac, sender, target } = packet;
      return pick({ operation, mac: formatMac(senderMac), sender: formatIpv4(sender), target: formatIpv4(target) });
    };
    return await frames.untilRead(read, () => --left === 0);
  } finally {
    clearInterval(steps);
  }
}

function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'done';
}

beforeEach(() => begin());

afterEach(() => {
  stranger?.[Symbol.dispose]();
  stranger = undefined;
  daemon[Symbol.dispose]();
});

describe('an address that a stranger answers at', { timeout }, () => {
  it('is never handed out, over a restart too, before it is silent', () => {
    daemon.stop();
    const { mac } = plugIn('10.8.64.2', '10.8.64.4');
    daemon.start();
    const conflicts = daemon.eventsOf('address.conflict', 2);
    expect(conflicts.map(({ data }) => data)).toEqual(
      expect.arrayContaining([
        { address: '10.8.64.2', mac },
        { address: '10.8.64.4', mac },
      ]),
    );
    expect(daemon.problems()).toContain('address_conflict');
    daemon.stop();
    daemon.start();
    expect(['a', 'b', 'c'].map(create)).toEqual(['10.8.64.3', '10.8.64.5', '10.8.64.6']);
    expect(refusal(() => create('d'))).toBe(
      'Cannot claim a bridge address of 10.8.64.0/29: 0 free, 3 live, 0 quarantined, 2 at which another answers; ' +
        'none is free before a removal or flush',
    );
    stranger?.giveUp('10.8.64.4');
    daemon.stop();
    daemon.start();
    expect(daemon.eventsOf('address.cleared', 1).map(({ data }) => data)).toEqual([{ address: '10.8.64.4' }]);
    expect(create('d')).toBe('10.8.64.4');
    expect(refusal(() => create('e'))).toMatch(/^Cannot claim a bridge address/);
  });

  it('is found when its lease has let go of it', () => {
    expect(create('a')).toBe('10.8.64.2');
    plugIn('10.8.64.2');
    daemon.remove('a');
    expect(daemon.eventsOf('address.conflict', 1)).toMatchObject([{ data: { address: '10.8.64.2' } }]);
    daemon.stepUntil(() => refusal(() => create('b')) === 'done');
    for (const id of ['c', 'd', 'e']) expect(create(id)).not.toBe('10.8.64.2');
    expect(refusal(() => create('f'))).toMatch(/4 live, 0 quarantined, 1 at which another answers/);
  });

  it('is told of when it is a sandbox’s, and names both', () => {
    create('a');
    const { mac } = plugIn();
    stranger?.claim('10.8.64.2');
    const [conflict] = daemon.eventsOf('address.conflict', 1);
    expect(conflict).toMatchObject({ sandboxId: 'a', slot: 1, generation: 1, data: { address: '10.8.64.2', mac } });
    expect(conflict?.message).toBe(
      `10.8.64.2 is claimed on the bridge by MAC address ${mac}, and it is that of sandbox a`,
    );
    // the sandbox keeps it, and nobody has it after
    expect(daemon.lab.run('host', 'ping', '-c1', '-W2', '10.8.64.2')).toContain(' 0% packet loss');
    expect(create('b')).toBe('10.8.64.3');
  });

  it('is the gateway’s', () => {
    const { mac } = plugIn();
    stranger?.claim('10.8.64.1');
    expect(daemon.eventsOf('address.conflict', 1)).toMatchObject([{ data: { address: '10.8.64.1', mac } }]);
    expect(daemon.problems()).toContain('gateway_conflict');
  });

  it('takes a warm network out of the pool', () => {
    daemon[Symbol.dispose]();
    begin({ poolSizes: { microvm: 0, netns: 0, bridge: 1 } });
    const warm = (): number => daemon.with((core) => core.status().warm.bridge);
    daemon.stepUntil(() => warm() === 1);
    plugIn().claim('10.8.64.2');
    daemon.eventsOf('address.conflict', 1);
    daemon.stepUntil(() => warm() === 1);
    expect(create('a')).toBe('10.8.64.3');
  });
});

describe('the wire', { timeout }, () => {
  it('is asked for each address of the pool, and of one that leaves quarantine', async () => {
    using frames = plugIn().link();
    daemon.stop();
    daemon.start();
    const probes = (count: number): Promise<string[]> =>
      heard(frames, count, ({ sender, target }) => (sender === '0.0.0.0' ? target : undefined));
    const pool = [1, 2, 3, 4, 5, 6].map((host) => `10.8.64.${host}`);
    expect((await probes(18)).toSorted()).toEqual(pool.flatMap((address) => [address, address, address]));
    expect(create('a')).toBe('10.8.64.2');
    daemon.remove('a');
    expect(await probes(3)).toEqual(['10.8.64.2', '10.8.64.2', '10.8.64.2']);
  });

  it('hears whose an address is when it is handed out', async () => {
    using frames = plugIn().link();
    create('a');
    const mac = formatMac(bridgeMac(parseIpv4('10.8.64.2')));
    const said = await heard(frames, 2, (arp) => (arp.sender === '0.0.0.0' ? undefined : arp));
    const announcement = { operation: ARPOP_REQUEST, mac, sender: '10.8.64.2', target: '10.8.64.2' };
    expect(said).toEqual([announcement, announcement]);
  });

  it('keeps an address back until it was asked, where a stranger could answer', () => {
    plugIn();
    // who is there is looked at once a second, and at the start
    daemon.stop();
    daemon.start();
    for (const id of ['a', 'b', 'c', 'd', 'e']) create(id);
    daemon.remove('c');
    const early = refusal(() => create('f'));
    expect(early).toMatch(
      /^Cannot claim a bridge address of 10.8.64.0\/29: 0 free, 4 live, 0 quarantined, 1 being probed/,
    );
    daemon.stepUntil(() => refusal(() => create('f')) === 'done');
    expect(daemon.events.filter(({ type }) => type === 'bridge.stranger')).toHaveLength(1);
  });

  it('keeps none back where nobody could', () => {
    for (const id of ['a', 'b', 'c', 'd', 'e']) create(id);
    daemon.remove('c');
    expect(create('f')).toBe('10.8.64.4');
  });

  it('tells sandboxes nothing of each other', async () => {
    const a = daemon.create('a', 'bridge');
    using frames = rawLink(daemon.lab, a.netns);
    create('b');
    daemon.remove('b');
    for (let step = 0; step < 300; step++) daemon.with((core) => core.step());
    daemon.lab.run('host', 'ping', '-c1', '-W2', formatIpv4(a.hostAddress));
    const arps: unknown[] = [];
    await frames.untilRead(
      (bytes) => {
        const arp = readArpFrame(bytes);
        if (arp !== undefined) arps.push(arp);
        return bytes;
      },
      (bytes) => bytes[12] === 0x08 && bytes[13] === 0x00,
    );
    expect(arps).toEqual([]);
  });

  it('is heard again after the bridge was away', () => {
    const one = plugIn();
    const router = join(daemon.lab.folder, 'run', 'netns', 'router');
    daemon.lab.run(router, 'ip', 'link', 'delete', 'rt0');
    daemon.with((core) => core.reconcile({ dryRun: false }));
    daemon.lab.run(router, 'ip', 'link', 'delete', 'lan0');
    one.plugIn();
    daemon.stepUntil(() => {
      one.claim('10.8.64.5');
      return daemon.events.some(({ type }) => type === 'address.conflict');
    });
  });
});

it('fills the pool as far as the addresses go', { timeout }, () => {
  daemon[Symbol.dispose]();
  begin({ poolSizes: { microvm: 0, netns: 0, bridge: 8 } });
  daemon.stepUntil(() => daemon.with((core) => core.step() > 0));
  expect(daemon.with((core) => core.status().warm.bridge)).toBe(5);
  for (const id of ['a', 'b', 'c', 'd', 'e']) create(id);
  daemon.with((core) => core.step());
  expect(refusal(() => create('f'))).toMatch(/0 free, 5 live/);
});

it('says that the bridge is nearly full before it is', { timeout }, () => {
  for (const id of ['a', 'b', 'c']) create(id);
  daemon.stepUntil(() => !daemon.problems().includes('bridge_filling'));
  create('d');
  const [filling] = daemon.eventsOf('bridge.filling', 1);
  expect(filling?.message).toBe(
    'The bridge is nearly full: it has left 1 of 5 addresses of 10.8.64.0/29 (4 are live, 0 in quarantine) ' +
      'and 1019 of 1023 ports; remove sandboxes or set a larger ranges.bridge',
  );
  expect(daemon.problems()).toContain('bridge_filling');
  create('e');
  daemon.remove('a', 'b', 'c');
  daemon.stepUntil(() => !daemon.problems().includes('bridge_filling'));
  expect(daemon.events.filter(({ type }) => type === 'bridge.filling')).toHaveLength(1);
});
