import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { Announcer } from './announcer.ts';
import { ArpSocket } from './socket.ts';
import { RFC_5227 } from './timing.ts';

/*
 *   router                    sandbox
 *   ┌──────────────────┐      ┌─────────────────────────┐
 *   │ rt0 10.8.64.1 s3 │──────│ eth0 10.8.64.3, tcpdump │   router says that 10.8.64.7 is at another sandbox
 *   └──────────────────┘      └─────────────────────────┘
 */

const BRIDGE = 30;
const OWNER = '02:00:00:00:00:07';
const FORMER = '02:00:00:00:00:06';
const LAST = '02:00:00:00:00:ff';

/**
 * Ends with its standard input, or says that it has ended. As root tcpdump becomes another user, at the least root again
 * without its groups: a user namespace has no other, and lets nobody leave a group, so it is told that it has.
 */
const CAPTURE = `
  strace -D -qq -o /dev/null -e trace=setgroups -e inject=setgroups:retval=0 \\
    tcpdump -Z root -i eth0 -nlet --immediate-mode arp 2>&1 &
  capture=$!
  { cat >/dev/null; kill $capture; } <&3 &
  wait $capture
  echo "ended: $?"`;

const LIMIT = 100;

/** A slow machine fails no test. */
const timeout = 60_000;

let router: LabNamespace;
let sandbox: LabNamespace;
let socket: ArpSocket;

beforeAll(async () => {
  [router, sandbox] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
  for (const namespace of [router, sandbox]) namespace.withoutIpv6();
  router.ip(
    `link add rt0 index ${BRIDGE} type bridge`,
    `link add s3 index 13 type veth peer name eth0 index 2 netns ${sandbox.pid}`,
    'link set s3 master rt0',
    'link set rt0 up',
    'link set s3 up',
    'address add 10.8.64.1/24 dev rt0',
  );
  sandbox.ip('link set eth0 up', 'address add 10.8.64.3/24 dev eth0');
  router.untilUp('s3');
  socket = router.within(() => new ArpSocket(BRIDGE));
}, timeout);

afterAll(async () => {
  socket[Symbol.dispose]();
  await Promise.all([router.close(), sandbox.close()]);
});

async function linesUntil(lines: AsyncIterator<string>, last: string): Promise<string[]> {
  const seen: string[] = [];
  for (let ended = false; !ended; ) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { value, done } = await lines.next();
    seen.push(value);
    if (done === true || value.startsWith('ended: ')) throw new Error(`tcpdump ended with ${seen.join(' | ')}`);
    ended = value.includes(last);
  }
  return seen;
}

it('is what tcpdump sees, and what a neighbour believes', { timeout }, async () => {
  const capture = sandbox.start('sh', '-c', `exec 3<&0; ${CAPTURE}`);
  onTestFinished(() => void capture.stdin?.end());
  if (capture.stdout === null) throw new Error('tcpdump has no output');
  const lines = createInterface(capture.stdout)[Symbol.asyncIterator]();
  await linesUntil(lines, 'listening on');
  const announcer = new Announcer(socket);
  const address = parseIpv4('10.8.64.7');
  sandbox.ip(`neighbour add 10.8.64.7 lladdr ${FORMER} dev eth0 nud stale`);

  announcer.announce(address, parseMac(OWNER), 0);
  expect(announcer.poll(0, LIMIT)).toEqual([]);
  expect(announcer.poll(RFC_5227.announceIntervalMs - 1, LIMIT)).toEqual([]);
  expect(announcer.size).toBe(1);
  expect(announcer.poll(RFC_5227.announceIntervalMs, LIMIT)).toEqual([]);
  expect(announcer.poll(3 * RFC_5227.announceIntervalMs, LIMIT)).toEqual([]);
  expect(announcer.size).toBe(0);
  announcer.announce(parseIpv4('10.8.64.201'), parseMac(LAST), 0);
  announcer.poll(0, LIMIT);
  const seen = await linesUntil(lines, '10.8.64.201');

  const said =
    `${OWNER} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: ` +
    'Request who-has 10.8.64.7 tell 10.8.64.7, length 28';
  expect(seen.filter((line) => line.includes('10.8.64.7'))).toEqual([said, said]);
  expect(sandbox.run('ip', 'neighbour', 'show', '10.8.64.7')).toContain(`lladdr ${OWNER}`);
});

it('says nothing again that was cancelled, and only the last of what was said', { timeout }, async () => {
  using listener = sandbox.within(() => new ArpSocket(2));
  const announcer = new Announcer(socket, { ...RFC_5227, announceNum: 3 });
  const [one, other] = [parseIpv4('10.8.64.8'), parseIpv4('10.8.64.9')];
  announcer.announce(one, parseMac(OWNER), 0);
  announcer.announce(other, parseMac(FORMER), 0);
  // one a time
  announcer.poll(0, 1);
  announcer.poll(0, 1);
  announcer.announce(other, parseMac(OWNER), 1000);
  announcer.cancel(one);
  for (let nowMs = 1000; nowMs < 10_000; nowMs += 500) announcer.poll(nowMs, 1);
  expect(announcer.size).toBe(0);
  const heard: Ipv4[] = [];
  while (heard.length < 5) {
    heard.push(...listener.receive(10).frames.map(({ packet }) => packet.sender));
    // oxlint-disable-next-line no-await-in-loop -- waits for the wire
    await sleep(5);
  }
  expect(heard).toEqual([one, other, other, other, other]);
});

it('says what it could not say', () => {
  router.ip('link add away index 40 type bridge', 'link set away up');
  using onAway = router.within(() => new ArpSocket(40));
  const announcer = new Announcer(onAway);
  const address = parseIpv4('10.8.64.7');
  announcer.announce(address, parseMac(OWNER), 0);
  expect(announcer.poll(0, LIMIT)).toEqual([]);
  router.ip('link delete away');
  const failures = [...announcer.poll(2000, LIMIT), ...announcer.poll(4000, LIMIT)];
  expect(failures.map(({ code }) => code)).toEqual(['announcement_failed']);
  expect(failures[0]?.message).toMatch(/^Cannot announce 10.8.64.7: Cannot send 42 bytes: (ENXIO|ENETDOWN)$/);
  expect(announcer.size).toBe(0);
});

it('has so many to say again and no more', () => {
  const announcer = new Announcer(socket);
  for (let i = 1; i <= 1024; i++) announcer.announce(i as Ipv4, parseMac(OWNER), 0);
  expect(() => announcer.announce(5000 as Ipv4, parseMac(OWNER), 0)).toThrow(/^Cannot announce 0.0.19.136: 1024/);
  announcer.announce(7 as Ipv4, parseMac(OWNER), 0);
  expect(announcer.size).toBe(1024);
});
