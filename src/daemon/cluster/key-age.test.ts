import { beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import { firstEpoch } from '../../cluster/epoch.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import { KeyAge } from './key-age.ts';

const HOUR_MS = 3_600_000;
const EVERY_MS = 30 * 24 * HOUR_MS;

let clock: HandClock;
let epoch: EpochRecord;
let age: KeyAge;

beforeEach(() => {
  clock = new HandClock();
  epoch = { ...firstEpoch(1420), number: 4, rotation: 3, rotatedWallMs: clock.wall };
  age = new KeyAge(EVERY_MS);
  expect(areOld()).toBe(false);
});

function areOld(rank = 0): boolean {
  return age.areOld(epoch, { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs(), rank });
}

function pass(ms: number): void {
  clock.wall += ms;
  clock.monotonic += ms;
}

it('is reached by who has known them all the time, and not a moment before', () => {
  pass(EVERY_MS - 1);
  expect(areOld()).toBe(false);
  pass(1);
  expect(areOld()).toBe(true);
});

it('is reached by who starts after it, once that one has known them for a day', () => {
  epoch = { ...epoch, rotatedWallMs: clock.wall - 2 * EVERY_MS };
  expect(areOld()).toBe(false);
  pass(24 * HOUR_MS - 1);
  expect(areOld()).toBe(false);
  pass(1);
  expect(areOld()).toBe(true);
});

it('is of a tenth of itself at the least where it is short, as of keys of which no record is', () => {
  age = new KeyAge(10 * HOUR_MS);
  epoch = firstEpoch(1420);
  expect(areOld()).toBe(false);
  pass(HOUR_MS - 1);
  expect(areOld()).toBe(false);
  pass(1);
  expect(areOld()).toBe(true);
});

it('is not reached because a wall clock jumps, however often', () => {
  for (let round = 0; round < 20; round++) {
    clock.wall += 400 * 24 * HOUR_MS;
    expect(areOld()).toBe(false);
    pass(HOUR_MS);
    expect(areOld()).toBe(false);
    clock.wall -= 800 * 24 * HOUR_MS;
    expect(areOld()).toBe(false);
    clock.wall += 400 * 24 * HOUR_MS;
  }
  // a clock that stays wrong brings one change, and the next begins anew
  clock.wall += 400 * 24 * HOUR_MS;
  pass(24 * HOUR_MS);
  expect(areOld()).toBe(true);
  epoch = { ...epoch, number: 5, rotation: 4, rotatedWallMs: clock.wall };
  for (let hour = 0; hour < 29 * 24; hour++) {
    expect(areOld()).toBe(false);
    pass(HOUR_MS);
  }
});

it('is reached where the record is of a time that has yet to come', () => {
  clock.wall -= 10 * EVERY_MS;
  pass(EVERY_MS - 1);
  expect(areOld()).toBe(false);
  pass(1);
  expect(areOld()).toBe(true);
});

it('is judged later by each host that comes after the first, and by none while a change is under way', () => {
  pass(EVERY_MS);
  expect([0, 1, 2].map((rank) => areOld(rank))).toEqual([true, false, false]);
  pass(10_000);
  expect([0, 1, 2].map((rank) => areOld(rank))).toEqual([true, true, false]);
  pass(10_000);
  expect([0, 1, 2].map((rank) => areOld(rank))).toEqual([true, true, true]);
  pass(300_000);
  expect(areOld(5000)).toBe(true);
  epoch = { ...epoch, phase: 'accept' };
  expect(areOld()).toBe(false);
});
