import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { buildArp } from '../../../lab/frame.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { addIpv4, formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac, parseMac } from '../../addr/mac.ts';
import { probe } from './claim.ts';
import { readArpFrame, writeArpFrame } from './packet.ts';
import { type ProbeResult, Prober } from './prober.ts';
import { ArpSocket } from './socket.ts';

/*
 *   router                       sandbox
 *   ┌───────────────────┐        ┌───────────────────────────────┐
 *   │ rt0 10.8.64.1 ─ s3│────────│ eth0 10.8.64.7, .8, .9        │
 *   │               ─ s4│────┐   └───────────────────────────────┘
 *   └───────────────────┘    │   wire
 *                            └── w4 (raw: says what the test says)
 *
 * The prober is told the time, so nothing here depends on how fast the machine is.
 */

const BRIDGE = 30;
const BRIDGE_MAC = '02:00:00:00:00:01';
const SANDBOX_MAC = '02:00:00:00:00:03';
const RIVAL = '02:00:00:00:00:09';
const EVERYONE = 'ff:ff:ff:ff:ff:ff';

/** More than all the waits of one address. */
const WHOLE_MS = 10_000;

/** More than there is to send. */
const LIMIT = 1000;

/** A slow machine fails no test. */
const timeout = 60_000;

let router: LabNamespace;
let sandbox: LabNamespace;
let wire: LabNamespace;
let w4: RawLink;
let socket: ArpSocket;
let prober: Prober;

beforeAll(async () => {
  [router, sandbox, wire] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
  for (const namespace of [router, sandbox, wire]) namespace.withoutIpv6();
  router.ip(
    `link add rt0 index ${BRIDGE} address ${BRIDGE_MAC} type bridge`,
    `link add s3 index 13 type veth peer name eth0 address ${SANDBOX_MAC} netns ${sandbox.pid}`,
    `link add s4 index 14 type veth peer name w4 index 14 netns ${wire.pid}`,
    'link set s3 master rt0',
    'link set s4 master rt0',
    ...['rt0', 's3', 's4'].map((name) => `link set ${name} up`),
    'address add 10.8.64.1/24 dev rt0',
  );
  sandbox.ip('link set eth0 up', ...[7, 8, 9].map((last) => `address add 10.8.64.${last}/24 dev eth0`));
  wire.ip('link set w4 up');
  router.untilUp('s3', 's4');
  w4 = new RawLink(wire, 14);
}, timeout);

beforeEach(() => {
  socket = router.within(() => new ArpSocket(BRIDGE));
  prober = new Prober(socket, parseMac(BRIDGE_MAC));
});

afterEach(() => socket[Symbol.dispose]());

afterAll(async () => {
  w4[Symbol.dispose]();
  await Promise.all([router.close(), sandbox.close(), wire.close()]);
});

function start(...addresses: string[]): void {
  for (const address of addresses) prober.start(parseIpv4(address));
}

function text(result: ProbeResult): string {
  const who = 'mac' in result ? ` ${formatMac(result.mac)}` : '';
  return `${formatIpv4(result.address)} ${result.outcome}${who}`;
}

/** What was said of an address that nobody had asked for is left out. */
function isAsked({ outcome }: ProbeResult): boolean {
  return outcome !== 'claimed';
}

/** Polls with the same time until so many results are there, or for good: an answer comes when it comes. */
async function results(nowMs: number, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    found.push(...prober.poll(nowMs, LIMIT).filter(isAsked).map(text));
    // oxlint-disable-next-line no-await-in-loop -- waits for the wire
    if (found.length < count) await sleep(5);
  }
  return found.toSorted();
}

/** Lets the time run as far as no answer matters any more. */
function runOut(fromMs: number): string[] {
  const found: string[] = [];
  for (let nowMs = fromMs; nowMs <= fromMs + WHOLE_MS; nowMs += 100)
    found.push(...prober.poll(nowMs, LIMIT).filter(isAsked).map(text));
  return found.toSorted();
}

function claimOf(address: string): Uint8Array {
  return buildArp({ from: RIVAL, to: EVERYONE }, 1, { mac: RIVAL, ip: address }, address);
}

it('finds who has an address, and that nobody has another', { timeout }, async () => {
  start('10.8.64.7', '10.8.64.70');
  // begun, and past the first wait: the first probe of both
  expect(prober.poll(0, LIMIT)).toEqual([]);
  expect(await results(1000, 1)).toEqual([`10.8.64.7 in_use ${SANDBOX_MAC}`]);
  expect(prober.size).toBe(1);
  expect(runOut(1000)).toEqual(['10.8.64.70 free']);
  expect(prober.size).toBe(0);
});

it('asks for a whole range at once', { timeout }, async () => {
  const range = Array.from({ length: 200 }, (_, i) => addIpv4(parseIpv4('10.8.64.2'), i));
  for (const address of range) prober.start(address);
  prober.poll(0, LIMIT);
  const used = ['10.8.64.7', '10.8.64.8', '10.8.64.9'];
  expect(await results(1000, 3)).toEqual(used.map((address) => `${address} in_use ${SANDBOX_MAC}`));
  const free = range.map((address) => formatIpv4(address)).filter((address) => !used.includes(address));
  expect(runOut(1000)).toEqual(free.map((address) => `${address} free`).toSorted());
});

it('sends each probe of the RFC', { timeout }, async () => {
  // the wire as it is from now on: what the other tests left unread fills its queue
  using fresh = new RawLink(wire, 14);
  start('10.8.64.210');
  expect(runOut(0)).toEqual(['10.8.64.210 free']);
  const marker = probe(parseMac(BRIDGE_MAC), parseIpv4('10.8.64.211'));
  socket.send(marker);
  const frames = await fresh.untilRead(readArpFrame, ({ packet }) => packet.target === marker.packet.target);
  const probes = frames.filter(({ packet }) => packet.target === parseIpv4('10.8.64.210'));
  const expected = buildArp({ from: BRIDGE_MAC, to: EVERYONE }, 1, { mac: BRIDGE_MAC, ip: '0.0.0.0' }, '10.8.64.210');
  expect(probes.map(writeArpFrame)).toEqual([expected, expected, expected]);
});

it('loses to another who asks for the same address, but not to itself', { timeout }, async () => {
  start('10.8.64.70', '10.8.64.71');
  prober.poll(0, LIMIT);
  w4.send(buildArp({ from: BRIDGE_MAC, to: EVERYONE }, 1, { mac: BRIDGE_MAC, ip: '0.0.0.0' }, '10.8.64.71'));
  w4.send(buildArp({ from: RIVAL, to: EVERYONE }, 1, { mac: RIVAL, ip: '0.0.0.0' }, '10.8.64.70'));
  expect(await results(0, 1)).toEqual([`10.8.64.70 in_use ${RIVAL}`]);
  expect(runOut(1000)).toEqual(['10.8.64.71 free']);
});

it('hears a claim until the last moment', { timeout }, async () => {
  const punctual = new Prober(socket, parseMac(BRIDGE_MAC), { random: () => 0 });
  const address = parseIpv4('10.8.64.70');
  punctual.start(address);
  for (const nowMs of [0, 1000, 2000, 3999]) expect(punctual.poll(nowMs, LIMIT)).toEqual([]);
  w4.send(claimOf('10.8.64.70'));
  let found: ProbeResult[] = [];
  while (found.length === 0) {
    // oxlint-disable-next-line no-await-in-loop -- waits for the wire
    await sleep(5);
    found = punctual.poll(3999, LIMIT);
  }
  expect(found.map(text)).toEqual([`10.8.64.70 in_use ${RIVAL}`]);
  punctual.start(address);
  for (const nowMs of [4000, 5000, 6000, 7999]) expect(punctual.poll(nowMs, LIMIT)).toEqual([]);
  expect(punctual.poll(8000, LIMIT)).toEqual([{ address, outcome: 'free' }]);
});

it('does not believe a claim from before it was asked', { timeout }, async () => {
  using witness = router.within(() => new ArpSocket(BRIDGE));
  w4.send(claimOf('10.8.64.70'));
  w4.send(claimOf('10.8.64.71'));
  for (let seen = false; !seen; ) {
    seen = witness.receive(10).frames.some(({ packet }) => packet.sender === parseIpv4('10.8.64.71'));
    // oxlint-disable-next-line no-await-in-loop -- waits for the wire
    await sleep(5);
  }
  start('10.8.64.70');
  expect(runOut(0)).toEqual(['10.8.64.70 free']);
});

it('hears who claims an address unasked, but not the one whose it is', { timeout }, async () => {
  const right = '02:00:00:00:00:72';
  const isOwner = (address: Ipv4, mac: Mac): boolean => address === parseIpv4('10.8.64.72') && formatMac(mac) === right;
  const listener = new Prober(socket, parseMac(BRIDGE_MAC), { isOwner });
  listener.start(parseIpv4('10.8.64.72'));
  listener.poll(0, LIMIT);
  const say = (mac: string, ip: string): void => w4.send(buildArp({ from: mac, to: EVERYONE }, 2, { mac, ip }, ip));
  say(right, '10.8.64.72');
  say(RIVAL, '10.8.64.73');
  say(RIVAL, '10.8.64.73');
  say(RIVAL, '10.8.64.72');
  const found: string[] = [];
  while (!found.some((line) => line.includes('in_use'))) {
    found.push(...listener.poll(0, LIMIT).map(text));
    // oxlint-disable-next-line no-await-in-loop -- waits for the wire
    await sleep(5);
  }
  expect(new Set(found)).toEqual(new Set([`10.8.64.73 claimed ${RIVAL}`, `10.8.64.72 in_use ${RIVAL}`]));
});

it('sends no more at a time than it may', { timeout }, async () => {
  using fresh = new RawLink(wire, 14);
  start('10.8.64.220', '10.8.64.221', '10.8.64.222');
  prober.poll(0, LIMIT);
  expect(prober.poll(1000, 2)).toEqual([]);
  socket.send(probe(parseMac(BRIDGE_MAC), parseIpv4('10.8.64.230')));
  expect(prober.poll(1000, 2)).toEqual([]);
  socket.send(probe(parseMac(BRIDGE_MAC), parseIpv4('10.8.64.231')));
  const last = parseIpv4('10.8.64.231');
  const frames = await fresh.untilRead(readArpFrame, ({ packet }) => packet.target === last);
  const asked = frames.map(({ packet }) => formatIpv4(packet.target));
  expect(asked).toEqual(['10.8.64.220', '10.8.64.221', '10.8.64.230', '10.8.64.222', '10.8.64.231']);
});

it('calls nothing free where it may have missed an answer', { timeout }, async () => {
  start('10.8.64.70');
  prober.poll(0, LIMIT);
  const noise = buildArp({ from: RIVAL, to: EVERYONE }, 2, { mac: RIVAL, ip: '10.8.64.99' }, '10.8.64.98');
  for (let i = 0; i < 5000; i++) w4.send(noise);
  expect(await results(0, 1)).toEqual(['10.8.64.70 unverified']);
  start('10.8.64.70');
  expect(runOut(0)).toEqual(['10.8.64.70 free']);
});

it('says that it cannot tell where the link is down or away', { timeout }, async () => {
  router.ip('link add away index 40 type bridge', 'link set away up');
  using onAway = router.within(() => new ArpSocket(40));
  const asker = new Prober(onAway, parseMac(BRIDGE_MAC), { random: () => 0 });
  const address = parseIpv4('10.8.64.70');
  asker.start(address);
  expect(asker.poll(0, LIMIT)).toEqual([]);
  router.ip('link set away down');
  const message = 'Cannot tell whether 10.8.64.70 is free: Cannot receive from a socket: ENETDOWN';
  expect(asker.poll(1, LIMIT)).toEqual([
    { address, outcome: 'unverified', cause: expect.objectContaining({ message }) },
  ]);
  router.ip('link delete away');
  asker.start(address);
  const [result] = [...asker.poll(2, LIMIT), ...asker.poll(3, LIMIT), ...asker.poll(4, LIMIT)];
  expect(result).toMatchObject({ outcome: 'unverified' });
});

it('has no link, no socket', () => {
  expect(() => router.within(() => new ArpSocket(4711))).toThrow(
    'Cannot listen to ARP on the link with index 4711: ENODEV',
  );
});

it('asks for so many and no more, and for none twice', () => {
  for (let i = 0; i < 1024; i++) prober.start(i as Ipv4);
  prober.start(7 as Ipv4);
  expect(prober.size).toBe(1024);
  expect(() => prober.start(5000 as Ipv4)).toThrow(/^Cannot probe 0.0.19.136: 1024 addresses/);
  prober.cancel(7 as Ipv4);
  prober.start(5000 as Ipv4);
});
