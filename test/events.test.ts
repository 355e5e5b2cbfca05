import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildArp, buildFrame } from '../lab/frame.ts';
import type { RawLink } from '../lab/raw-link.ts';
import { formatIpv4 } from '../src/addr/ipv4.ts';
import { formatMac } from '../src/addr/mac.ts';
import { systemClock } from '../src/clock.ts';
import { openStore, type Store } from '../src/ipam/store.ts';
import { Kernel } from '../src/linux/apply.ts';
import { PacketLog } from '../src/linux/nflog/log.ts';
import { ROOT, ROUTER } from '../src/plan/state.ts';
import type { NewEvent } from '../src/sandbox/event.ts';
import { ROUTER_REPORT_GROUP, rootReportGroup } from '../src/sandbox/host/objects.ts';
import { Reports } from '../src/sandbox/reports/reports.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { BRIDGE_MAC, bridgeMac, DEFAULT_LAYOUT, ROUTER_MAC, SANDBOX_MAC } from '../src/sandbox/topology/layout.ts';
import { LabDaemon } from './support/lab-daemon.ts';
import { EVERYONE, rawLink } from './support/stranger.ts';

/*
 * What the rules stop is told of by who did it, to whom:
 *
 *     a, b, c on the bridge (10.8.64.2, .3, .4), d and e on cables (10.11.0.4, .5), f a microVM's (10.11.0.6)
 */

const OUTSIDE = '192.0.2.1';
const HOST = '192.0.2.2';
const GATEWAY = '10.8.64.1';
const GATEWAY_MAC = formatMac(BRIDGE_MAC);

const timeout = 120_000;

let daemon: LabDaemon;
const sandboxes = new Map<string, Sandbox>();
const links = new Map<string, RawLink>();

beforeAll(() => {
  daemon = new LabDaemon();
  for (const id of ['a', 'b', 'c']) sandboxes.set(id, daemon.create(id, 'bridge'));
  for (const id of ['d', 'e']) sandboxes.set(id, daemon.create(id, 'netns'));
  sandboxes.set('f', daemon.create('f', 'microvm'));
  for (const [id, { netns }] of sandboxes) links.set(id, rawLink(daemon.lab, netns));
}, timeout);

afterAll(() => {
  for (const link of links.values()) link[Symbol.dispose]();
  daemon[Symbol.dispose]();
}, timeout);

/** What came before is told, and its counting is over. */
beforeEach(() => {
  const endMs = performance.now() + 2500;
  daemon.stepUntil(() => performance.now() > endMs);
  daemon.events.length = 0;
});

function of(id: string): Sandbox {
  const sandbox = sandboxes.get(id);
  if (sandbox === undefined) throw new Error(`No sandbox ${id}`);
  return sandbox;
}

function address(id: string): string {
  return formatIpv4(of(id).hostAddress);
}

function mac(id: string): string {
  return formatMac(bridgeMac(of(id).hostAddress));
}

function send(id: string, ...frames: Uint8Array[]): void {
  for (const frame of frames) links.get(id)?.send(frame);
}

function sandboxData(id: string): Record<string, unknown> {
  const { slot, generation } = of(id);
  return { kind: 'sandbox', sandboxId: id, slot, generation };
}

const udp = { kind: 'udp', from: 5000, to: 53, text: 'x' } as const;

describe('a sandbox on the bridge', { timeout }, () => {
  const ip = (from: string, source = mac('a')): Uint8Array =>
    buildFrame({ ether: { from: source, to: GATEWAY_MAC }, from, to: OUTSIDE, body: udp });
  const arp = (operation: 1 | 2, sender: string, claimant = mac('a')): Uint8Array =>
    buildArp({ from: mac('a'), to: EVERYONE }, operation, { mac: claimant, ip: sender }, GATEWAY);

  it('that claims what is another’s or the gateway’s is named, and so is the other', () => {
    const quoted = { from: OUTSIDE, to: address('c'), ports: [1, 2] } as const;
    const error = { kind: 'icmp', type: 3, code: 3, quoted } as const;
    const cases: [Uint8Array, Record<string, unknown>][] = [
      [arp(1, address('b')), { protocol: 'arp', address: address('b'), mac: mac('a'), victim: sandboxData('b') }],
      [arp(2, address('c')), { protocol: 'arp', address: address('c'), mac: mac('a'), victim: sandboxData('c') }],
      [arp(2, GATEWAY), { protocol: 'arp', address: GATEWAY, mac: mac('a'), victim: { kind: 'gateway' } }],
      [
        arp(1, address('a'), mac('b')),
        { protocol: 'arp', address: address('a'), mac: mac('b'), victim: sandboxData('b') },
      ],
      [ip(address('b')), { protocol: 'ipv4', address: address('b'), mac: mac('a'), victim: sandboxData('b') }],
      [ip(GATEWAY), { protocol: 'ipv4', address: GATEWAY, mac: mac('a'), victim: { kind: 'gateway' } }],
      [
        ip(address('a'), GATEWAY_MAC),
        { protocol: 'ipv4', address: address('a'), mac: GATEWAY_MAC, victim: { kind: 'gateway' } },
      ],
      [
        buildFrame({ ether: { from: mac('a'), to: GATEWAY_MAC }, from: address('a'), to: OUTSIDE, body: error }),
        { protocol: 'ipv4', address: address('c'), mac: mac('a'), victim: sandboxData('c') },
      ],
    ];
    send('a', ...cases.map(([frame]) => frame));
    const events = daemon.eventsOf('sandbox.spoofed', cases.length);
    expect(events.map(({ data }) => data)).toEqual(cases.map(([, data]) => ({ ...data, count: 1, mixed: false })));
    const { slot, generation } = of('a');
    for (const event of events) expect(event).toMatchObject({ sandboxId: 'a', slot, generation });
    expect(events[0]?.message).toBe(
      'Stopped a packet in which sandbox a (slot 1) claims in ARP 10.8.64.3, ' +
        `which is that of sandbox b (slot 2), from MAC address ${mac('a')}`,
    );
  });

  it('that floods is told of once a second, with how often', () => {
    for (let i = 0; i < 1000; i++) send('a', arp(1, address('b')));
    const events = daemon.eventsOf('sandbox.spoofed', 2);
    expect(events.map(({ data }) => data?.['count'])).toEqual([1, expect.any(Number)]);
    // the rules report 64 at once and ten a second after
    const [, second] = events.map(({ data }) => Number(data?.['count']));
    expect(second).toBeGreaterThan(30);
    expect(second).toBeLessThan(1000);
  });

  it('that claims one address after the other is told of in a few lines', () => {
    for (let slot = 1; slot <= 40; slot++) send('a', ip(`10.12.0.${2 * slot}`));
    const events = daemon.eventsOf('sandbox.spoofed', 10);
    const told = events.map(({ data }) => [data?.['mixed'], data?.['count']]);
    expect(told).toEqual([...Array.from({ length: 8 }, () => [false, 1]), [true, 1], [true, 31]]);
    expect(events.at(-1)?.message).toMatch(
      /^Stopped at least 31 packets .* as 10.12.0.80, .* the gateway, .*, and as others$/,
    );
  });
});

describe('a sandbox on a cable', { timeout }, () => {
  const ip = (from: string, source = formatMac(SANDBOX_MAC)): Uint8Array =>
    buildFrame({ ether: { from: source, to: formatMac(ROUTER_MAC) }, from, to: OUTSIDE, body: udp });

  it.each(['d', 'f'])('%s that claims what is another’s is named, and so is the other', (id) => {
    const gateway = `10.12.0.${2 * of(id).slot}`;
    const own = formatIpv4(of(id).guestAddress);
    const from = { protocol: 'ipv4', mac: formatMac(SANDBOX_MAC) };
    const cases: [Uint8Array, Record<string, unknown>][] = [
      [ip(address('e')), { ...from, address: address('e'), victim: sandboxData('e') }],
      [ip(address('b')), { ...from, address: address('b'), victim: sandboxData('b') }],
      [ip(gateway), { ...from, address: gateway, victim: { kind: 'gateway' } }],
      [ip('10.11.0.0'), { ...from, address: '10.11.0.0', victim: { kind: 'host' } }],
      [ip('198.51.100.7'), { ...from, address: '198.51.100.7', victim: { kind: 'nobody' } }],
      [
        ip(own, formatMac(ROUTER_MAC)),
        { ...from, address: own, mac: formatMac(ROUTER_MAC), victim: { kind: 'gateway' } },
      ],
    ];
    send(id, ...cases.map(([frame]) => frame));
    const events = daemon.eventsOf('sandbox.spoofed', cases.length);
    expect(events.map(({ data }) => data)).toEqual(cases.map(([, data]) => ({ ...data, count: 1, mixed: false })));
    for (const event of events) expect(event).toMatchObject({ sandboxId: id, slot: of(id).slot });
  });
});

it('says nothing of what sandboxes do in their own name, and of one that is cut off', { timeout }, () => {
  for (const id of ['a', 'd']) daemon.lab.run(of(id).netns, 'ping', '-c2', '-i0.1', OUTSIDE);
  const gone = daemon.create('gone', 'netns');
  const pings = daemon.lab.spawn(gone.netns, 'ping', '-i0.002', OUTSIDE);
  daemon.lab.run(gone.netns, 'ping', '-c2', '-i0.1', OUTSIDE);
  using frames = rawLink(daemon.lab, gone.netns);
  const own = formatIpv4(gone.hostAddress);
  const frame = buildFrame({
    ether: { from: formatMac(SANDBOX_MAC), to: formatMac(ROUTER_MAC) },
    from: own,
    to: OUTSIDE,
    body: udp,
  });
  daemon.with((core) => core.remove([gone.id]));
  for (let i = 0; i < 20; i++) frames.send(frame);
  pings.kill('SIGKILL');
  daemon.with((core) => core.step());
  send('a', buildArp({ from: mac('a'), to: EVERYONE }, 1, { mac: mac('a'), ip: GATEWAY }, GATEWAY));
  expect(daemon.eventsOf('sandbox.spoofed', 1)).toMatchObject([{ sandboxId: 'a', data: { address: GATEWAY } }]);
  expect(daemon.events.filter(({ type }) => type === 'sandbox.denied')).toEqual([]);
});

describe('what is denied', { timeout }, () => {
  const say = (id: string, destination: string, port: number): void =>
    void daemon.lab.run(of(id).netns, 'bash', '-c', `echo > /dev/udp/${destination}/${port}`);

  it('is told of with where to, and by whom', () => {
    const deny = { egress: 'none', allow: [], deny: [] } as const;
    for (const id of ['a', 'd'] as const) daemon.with((core) => core.update(of(id).id, { policy: deny }));
    say('d', OUTSIDE, 53);
    say('a', OUTSIDE, 443);
    say('b', GATEWAY, 67);
    say('e', HOST, 22);
    say('c', HOST, 23);
    say('b', address('c'), 80);
    const told = daemon.eventsOf('sandbox.denied', 6).map(({ sandboxId, data }) => ({ sandboxId, ...data }));
    const once = { protocol: 'udp', count: 1, mixed: false };
    expect(told).toEqual(
      expect.arrayContaining([
        { sandboxId: 'd', by: 'policy', destination: OUTSIDE, port: 53, ...once },
        { sandboxId: 'a', by: 'policy', destination: OUTSIDE, port: 443, ...once },
        { sandboxId: 'b', by: 'router', destination: GATEWAY, port: 67, ...once },
        { sandboxId: 'e', by: 'host', destination: HOST, port: 22, ...once },
        { sandboxId: 'c', by: 'host', destination: HOST, port: 23, ...once },
        { sandboxId: 'b', by: 'bridge', protocol: 'arp', destination: address('c'), count: 1, mixed: false },
      ]),
    );
    const message = daemon.events.find(
      ({ sandboxId, type }) => sandboxId === 'e' && type === 'sandbox.denied',
    )?.message;
    expect(message).toBe(`Stopped a packet of sandbox e (slot 5) to ${HOST}:22 (udp): it is the host’s own`);
  });
});

it('a sandbox that has opened as many flows as it may is told of, and keeps those that it has', { timeout }, () => {
  const many = daemon.create('many', 'netns');
  const open = (first: number, last: number): void =>
    void daemon.lab.run(
      many.netns,
      'bash',
      '-c',
      `for ((port = ${first}; port <= ${last}; port++)); do echo > /dev/udp/${OUTSIDE}/$port; done`,
    );
  const opened = (): number =>
    daemon.lab
      .run(daemon.lab.folder + '/run/netns/router', 'conntrack', '-L', '-s', formatIpv4(many.hostAddress))
      .split('\n').length - 1;
  open(1, 1200);
  expect(opened()).toBe(1000);
  const [denied] = daemon.eventsOf('sandbox.denied', 1);
  expect(denied).toMatchObject({ sandboxId: 'many', data: { by: 'limit', protocol: 'udp', destination: OUTSIDE } });
  expect(denied?.message).toMatch(/: it has opened as many flows as it may have$/);
  // what is told is up to a second old
  daemon.stepUntil(() => daemon.with((core) => core.status().flows.router) >= 1000);
  daemon.with((core) => core.remove([many.id]));
  daemon.stepUntil(() => daemon.with((core) => core.status().quarantined === 0 && core.status().removing === 0));
  const next = daemon.create('many', 'netns');
  daemon.lab.run(next.netns, 'ping', '-c1', '-W2', OUTSIDE);
});

describe('reports', { timeout }, () => {
  const group = rootReportGroup('lab');

  it('that are lost are counted, and said to be', () => {
    const rules = `table inet flood { chain out { type filter hook output priority 0; udp dport 9 log group ${group}; }; }`;
    daemon.lab.run('host', 'nft', rules);
    daemon.lab.run('host', 'bash', '-c', 'for ((i = 0; i < 20000; i++)); do echo > /dev/udp/192.0.2.1/9; done');
    daemon.lab.run('host', 'nft', 'delete', 'table', 'inet', 'flood');
    const [lost] = daemon.eventsOf('reports.lost', 1);
    expect(lost?.data?.['lost']).toBeGreaterThan(0);
    expect(daemon.problems()).toContain('reports_lost');
  });

  it('that another listens to are missed, and said to be, until it ends', () => {
    daemon.stop();
    const other = daemon.inside(() => new PacketLog(group));
    daemon.start();
    daemon.with((core) => core.step());
    expect(daemon.problems()).toContain('reports_unheard');
    other[Symbol.dispose]();
    daemon.stepUntil(() => !daemon.problems().includes('reports_unheard'));
    daemon.lab.run(of('e').netns, 'bash', '-c', `echo > /dev/udp/${HOST}/24`);
    expect(daemon.eventsOf('sandbox.denied', 1)).toMatchObject([{ sandboxId: 'e', data: { by: 'host', port: 24 } }]);
  });

  it('that cannot be read are lost: the slots that they name may be others’ when they can be', async () => {
    daemon.stop();
    using store = openStore(join(daemon.lab.folder, 'state', 'leases.sqlite'), systemClock());
    let isBroken = true;
    const all: Store['all'] = (...query) => {
      if (isBroken) throw new Error('broken');
      return store.all(...query);
    };
    const told: NewEvent[] = [];
    const claim = { mac: mac('a'), ip: GATEWAY };
    const spoof = (): void => send('a', buildArp({ from: mac('a'), to: EVERYONE }, 1, claim, GATEWAY));
    using kernel = daemon.inside(() => new Kernel(join(daemon.lab.folder, 'run', 'netns'), [ROOT, ROUTER]));
    using reports = new Reports({
      store: Object.create(store, { all: { value: all } }) as Store,
      kernel,
      layout: { ...DEFAULT_LAYOUT, mtu: 1420 },
      groups: { router: ROUTER_REPORT_GROUP, root: group },
      emit: (event) => told.push(event),
    });
    const step = (nowMs: number): void => daemon.inside(() => reports.step(nowMs));
    step(0);
    spoof();
    const failure = (): unknown => {
      try {
        step(1);
      } catch (error) {
        return error;
      }
      return undefined;
    };
    await expect.poll(failure).toMatchObject({ message: 'broken' });
    const refusal = { code: 'reports_unheard', message: expect.stringMatching(/broken$/) };
    expect(reports.problems(2)).toMatchObject([refusal, { code: 'reports_lost' }]);
    isBroken = false;
    spoof();
    for (let nowMs = 10; nowMs < 100; nowMs++) step(nowMs);
    expect(told).toMatchObject([{ type: 'reports.lost' }]);
    step(6000);
    expect(reports.problems(6000)).toMatchObject([{ code: 'reports_lost' }]);
    spoof();
    await expect
      .poll(() => (step(6001), told.slice(1)))
      .toMatchObject([{ type: 'sandbox.spoofed', data: { count: 1 } }]);
    daemon.start();
  });
});
