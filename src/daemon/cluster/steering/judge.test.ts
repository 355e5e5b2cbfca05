import { beforeEach, expect, it } from 'vitest';
import { parseIpv4 } from '../../../addr/ipv4.ts';
import { parsePrefix } from '../../../addr/prefix.ts';
import { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { Leg, Way } from '../../../mesh/way.ts';
import { PATH_TIMING } from '../../../plan/path/path.ts';
import { type Judgement, judge, type Known } from './judge.ts';

const WHOLE = 1420;
const SENDING = { number: 3, phase: 'send', encrypts: false, rotation: 0, whenDown: 'wait' } as const;
const ENCRYPTED = { sends: 'even', acceptsClear: true } as const;

let paths: PeerPaths;
let nowMs: number;
let nonce: bigint;

beforeEach(() => {
  paths = new PeerPaths(WHOLE, PATH_TIMING);
  nowMs = 0;
  nonce = 0n;
});

function judged(
  before: Parameters<typeof judge>[0],
  { isOnLink = true, ...other }: Partial<Known> & { readonly isOnLink?: boolean } = {},
): Judgement {
  const subnet = parsePrefix('10.64.16.0/20');
  const peer = { name: 'h2', subnet, address: parseIpv4('192.0.2.2'), clearPort: 51830, isOnLink, keys: [] };
  const known = { peer, paths, epoch: SENDING, hasWay: (): boolean => true, whole: WHOLE, unbounded: WHOLE, nowMs };
  const judgement = judge(before, { ...known, ...other });
  paths.use(judgement.legs);
  return judgement;
}

/** The other host answers what is asked by a leg, up to this size. */
function answer(leg: Leg, largest = WHOLE): void {
  for (let round = 0; round < 40 && !paths.isProved(leg, nowMs); round++) {
    nowMs = Math.max(nowMs, paths.dueMs(leg));
    const asked = paths.ask(leg, nowMs, () => ++nonce);
    for (const { size, nonce: one } of asked) if (size <= largest) paths.answer(leg, one, largest, nowMs);
  }
}

it('sends by the way that is to be, once a packet has gone there and back by it', () => {
  const { course, legs } = judged(ENCRYPTED);
  expect(course).toEqual(ENCRYPTED);
  expect([...legs]).toEqual(['even', 'direct']);
  answer('direct');
  expect(judged(ENCRYPTED).course).toEqual({ sends: 'clear', acceptsClear: true });
});

it('does not send by a way that one of the two has no keys for, and does not ask by it', () => {
  const hasWay = (way: Way): boolean => way !== 'odd';
  const { course, legs } = judged(ENCRYPTED, { epoch: { ...SENDING, encrypts: true, rotation: 1 }, hasWay });
  expect(course.sends).toBe('even');
  expect([...legs]).toEqual(['even']);
});

it('gives the route a size of its own where less passes, and where links take more than is sent', () => {
  judged(ENCRYPTED);
  answer('direct', 1300);
  const { mtu = 0 } = judged(ENCRYPTED).course;
  expect(mtu).toBeGreaterThan(1300 - 8);
  expect(mtu).toBeLessThanOrEqual(1300);
  expect(judged({ ...ENCRYPTED, mtu: 1350 }, { hasWay: () => false }).course.mtu).toBe(1350);
  expect(judged(ENCRYPTED, { hasWay: () => false, unbounded: 1500 }).course.mtu).toBe(WHOLE);
});

it('wraps what is for a host that is no neighbour, without a word of it in the course', () => {
  const { legs } = judged(ENCRYPTED, { isOnLink: false });
  expect([...legs]).toEqual(['even', 'wrapped']);
  answer('wrapped');
  expect(judged(ENCRYPTED, { isOnLink: false }).course).toEqual({ sends: 'clear', acceptsClear: true });
});

it('wraps what is for a neighbour that answers nothing but that', () => {
  judged(ENCRYPTED);
  paths.ask('direct', nowMs, () => ++nonce);
  nowMs += 6000;
  expect([...judged(ENCRYPTED).legs]).toEqual(['even', 'direct', 'wrapped']);
  answer('wrapped');
  expect(judged(ENCRYPTED).course).toEqual({ sends: 'clear', acceptsClear: true, wraps: true });
});
