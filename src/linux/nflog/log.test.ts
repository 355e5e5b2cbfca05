import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildArp, buildFrame } from '../../../lab/frame.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts';
import { formatMac } from '../../addr/mac.ts';
import { PacketLog } from './log.ts';
import type { LoggedPacket } from './packet.ts';

/*
 *   wire                router
 *   ┌──────────┐        ┌──────────────────────────────┐
 *   │ w3 (raw) │────────│ s3 ─ rt0 10.8.64.1/24        │   every rule logs to a group of its own
 *   │ w4 (raw) │────────│ s4       10.8.65.1/24        │
 *   └──────────┘        └──────────────────────────────┘
 */

const BRIDGE = 30;
const PORT = 10_003;
const LINK = 10_004;
const W3 = '02:00:00:00:03:02';
const W4 = '02:00:00:00:04:02';
const LIAR = '02:00:00:00:09:09';
const S4 = '02:00:00:00:04:01';
const EVERYONE = 'ff:ff:ff:ff:ff:ff';

const GROUPS = { bridge: 1, arp: 2, ip: 3, sent: 4, flood: 5 };

const RULES = `
table bridge lab {
  chain in {
    type filter hook prerouting priority filter
    ether saddr ${LIAR} log prefix "spoofed" group ${GROUPS.bridge} drop
  }
}
table arp lab {
  chain in {
    type filter hook input priority filter
    iifname s4 log prefix "asked" group ${GROUPS.arp}
  }
}
table inet lab {
  chain raw {
    type filter hook prerouting priority raw
    iifname s4 udp dport 9 counter log prefix "flood" group ${GROUPS.flood} drop
    iifname s4 udp dport 10 log prefix "denied" group ${GROUPS.ip} snaplen 64
  }
  chain out {
    type filter hook output priority filter
    oifname s4 udp dport 11 log prefix "sent" group ${GROUPS.sent}
  }
}`;

/** A slow machine fails no test. */
const timeout = 60_000;

let router: LabNamespace;
let wire: LabNamespace;
let w3: RawLink;
let w4: RawLink;

beforeAll(async () => {
  [router, wire] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
  for (const namespace of [router, wire]) namespace.withoutIpv6();
  router.ip(
    `link add rt0 index ${BRIDGE} type bridge`,
    `link add s3 index ${PORT} type veth peer name w3 index 13 address ${W3} netns ${wire.pid}`,
    `link add s4 index ${LINK} address ${S4} type veth peer name w4 index 14 address ${W4} netns ${wire.pid}`,
    'link set s3 master rt0',
    ...['rt0', 's3', 's4'].map((name) => `link set ${name} up`),
    'address add 10.8.64.1/24 dev rt0',
    'address add 10.8.65.1/24 dev s4',
    `neighbour add 10.8.65.4 lladdr ${W4} dev s4 nud permanent`,
  );
  wire.ip('link set w3 up', 'link set w4 up');
  router.untilUp('s3', 's4');
  router.run('nft', RULES);
  w3 = new RawLink(wire, 13);
  w4 = new RawLink(wire, 14);
}, timeout);

afterAll(async () => {
  for (const link of [w3, w4]) link[Symbol.dispose]();
  await Promise.all([router.close(), wire.close()]);
});

function listen(group: number): PacketLog {
  return router.within(() => new PacketLog(group));
}

/** Polls until so many packets came, or for good. */
async function take(log: PacketLog, count: number): Promise<LoggedPacket[]> {
  const packets: LoggedPacket[] = [];
  while (packets.length < count) {
    const more = log.poll(count - packets.length);
    packets.push(...more);
    // oxlint-disable-next-line no-await-in-loop -- waits for the kernel
    if (more.length === 0) await sleep(5);
  }
  return packets;
}

function described(packet: LoggedPacket): Record<string, unknown> {
  const { prefix, inLink, inBridge, outLink, etherType, source, destination, mac, claimant } = packet;
  return {
    prefix,
    inLink,
    inBridge,
    outLink,
    etherType,
    source: source && formatIpv4(source),
    destination: destination && formatIpv4(destination),
    mac: mac && formatMac(mac),
    claimant: claimant && formatMac(claimant),
  };
}

function datagram(port: number, text: string, from = '10.8.65.4'): Uint8Array {
  const body = { kind: 'udp', from: 5, to: port, text } as const;
  return buildFrame({ ether: { from: W4, to: S4 }, from, to: '10.8.65.1', body });
}

it('tells of ARP on a bridge who claims what, and at which port', { timeout }, async () => {
  using log = listen(GROUPS.bridge);
  const frame = buildArp({ from: LIAR, to: EVERYONE }, 2, { mac: W3, ip: '10.8.64.9' }, '10.8.64.1');
  w3.send(frame);
  const [packet] = await take(log, 1);
  expect(packet && described(packet)).toEqual({
    prefix: 'spoofed',
    inLink: PORT,
    inBridge: BRIDGE,
    outLink: undefined,
    mac: LIAR,
    etherType: 0x0806,
    source: '10.8.64.9',
    destination: '10.8.64.1',
    claimant: W3,
  });
  expect(packet?.payload).toEqual(frame.slice(14));
});

it('tells of IPv4 on a bridge who sent it, and at which port', { timeout }, async () => {
  using log = listen(GROUPS.bridge);
  const body = { kind: 'udp', from: 5, to: 6, text: 'hello' } as const;
  const frame = buildFrame({ ether: { from: LIAR, to: W4 }, from: '10.8.64.9', to: '192.0.2.7', body });
  w3.send(frame);
  const [packet] = await take(log, 1);
  expect(packet && described(packet)).toEqual({
    prefix: 'spoofed',
    inLink: PORT,
    inBridge: BRIDGE,
    outLink: undefined,
    mac: LIAR,
    etherType: 0x0800,
    source: '10.8.64.9',
    destination: '192.0.2.7',
    claimant: undefined,
  });
  expect(packet?.payload).toEqual(frame.slice(14));
});

it('serves tables of ARP', { timeout }, async () => {
  using log = listen(GROUPS.arp);
  w4.send(buildArp({ from: W4, to: EVERYONE }, 1, { mac: LIAR, ip: '10.8.65.9' }, '10.8.65.1'));
  const [packet] = await take(log, 1);
  expect(packet && described(packet)).toMatchObject({
    prefix: 'asked',
    inLink: LINK,
    inBridge: undefined,
    mac: W4,
    source: '10.8.65.9',
    claimant: LIAR,
  });
});

it('copies as much of a packet as the rule and the socket ask for', { timeout }, async () => {
  using log = listen(GROUPS.ip);
  const frame = datagram(10, 'x'.repeat(500));
  w4.send(frame);
  const [packet] = await take(log, 1);
  expect(packet?.payload).toEqual(frame.slice(14, 14 + 64));
  expect(packet?.source && formatIpv4(packet.source)).toBe('10.8.65.4');
});

it('has a link out and none in for what the namespace sends', { timeout }, async () => {
  using log = listen(GROUPS.sent);
  router.run('bash', '-c', 'echo > /dev/udp/10.8.65.4/11');
  const [packet] = await take(log, 1);
  expect(packet && described(packet)).toMatchObject({
    prefix: 'sent',
    inLink: undefined,
    outLink: LINK,
    mac: undefined,
    destination: '10.8.65.4',
  });
});

it('reads at most as many as asked, in order, and loses none', { timeout }, async () => {
  using log = listen(GROUPS.flood);
  const sources = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  for (const source of sources) w4.send(datagram(9, '', source));
  const read: LoggedPacket[] = [];
  while (read.length < sources.length) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    read.push(...(await take(log, Math.min(7, sources.length - read.length))));
  }
  expect(read.map(({ source }) => source && formatIpv4(source))).toEqual(sources);
  expect(log.poll(7)).toEqual([]);
  expect(log.statistics).toEqual({ read: 300, lost: 0, overruns: 0 });
});

it('counts what was lost while nobody polled', { timeout }, async () => {
  using log = listen(GROUPS.flood);
  const before = logged();
  for (let i = 0; i < 20_000; i++) w4.send(datagram(9, ''));
  let packets = 0;
  for (let more = -1; more !== 0; packets += more) more = log.poll(1000).length;
  // What was lost last is known when the next one comes.
  w4.send(datagram(9, '', '10.99.99.99'));
  for (let ended = false; !ended; ) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const [packet] = await take(log, 1);
    ended = packet?.source === parseIpv4('10.99.99.99');
    packets++;
  }
  const { read, lost, overruns } = log.statistics;
  expect(read).toBe(packets);
  expect(read + lost).toBe(logged() - before);
  expect(lost).toBeGreaterThan(0);
  expect(overruns).toBeGreaterThan(0);
});

/** How many packets the rule that floods has seen, by its own count. */
function logged(): number {
  const [, packets] = /counter packets (\d+)/.exec(router.run('nft', 'list', 'chain', 'inet', 'lab', 'raw')) ?? [];
  return Number(packets);
}

it('says that a group has a listener already', () => {
  const one = listen(GROUPS.ip);
  expect(() => listen(GROUPS.ip)).toThrow(/^Cannot listen to packet log group 3: another socket does/);
  one[Symbol.dispose]();
  listen(GROUPS.ip)[Symbol.dispose]();
});
