import { beforeEach, expect, it } from 'vitest';
import { parseSlot, type Slot } from '../ipam/lease.ts';
import type { Holding } from '../sandbox/holding.ts';
import { Resizing } from './resizing.ts';

let done: string[];
let resizing: Resizing;
let failed: Map<Slot, string>;
let isDone: boolean;
let refuses: boolean;
let nowMs: number;
let layout: { mtu: number };
let slots: number[];

beforeEach(() => {
  done = [];
  failed = new Map();
  isDone = true;
  refuses = false;
  nowMs = 0;
  layout = { mtu: 1420 };
  slots = [1, 2, 3];
  resizing = new Resizing({
    layout,
    holdings: () => slots.map((one) => ({ key: { slot: parseSlot(one), generation: 1 } }) as unknown as Holding),
    kernel: {
      apply: () => {
        if (refuses) throw new Error('no');
        done.push('host');
      },
    },
    survey: { hostPlan: () => [] },
    crew: { resize: () => done.push('crew') },
    manager: { buildAnew: () => done.push('pool') },
    verification: {
      get isDone() {
        return isDone;
      },
      failed,
      forgetFailures: () => failed.clear(),
      lookAgain: (holdings) => {
        done.push(`look ${holdings.map(({ key }) => key.slot).join(' ')}`);
        isDone = holdings.length === 0;
      },
    },
    emit: ({ message }) => done.push(message),
    nowMs: () => nowMs,
  });
});

it('is done when every link is known to have the size, and says so once', () => {
  expect(resizing.step(1420)).toBe(true);
  expect(done).toEqual([]);
  expect(resizing.step(1320)).toBe(false);
  expect(resizing.isUnderWay).toBe(true);
  expect(resizing.step(1320)).toBe(false);
  isDone = true;
  expect(resizing.step(1320)).toBe(true);
  expect(resizing.step(1320)).toBe(true);
  expect(resizing.isUnderWay).toBe(false);
  const message = 'All links take packets of 1320 bytes; before, 1420';
  expect(done).toEqual(['crew', 'pool', 'host', 'look 1 2 3', message]);
});

it('is not done while what was adopted has not been looked into', () => {
  isDone = false;
  expect(resizing.step(1420)).toBe(false);
  expect(resizing.isUnderWay).toBe(false);
  isDone = true;
  expect(resizing.step(1420)).toBe(true);
});

it('does again what the root namespace refused', () => {
  refuses = true;
  expect(() => resizing.step(1320)).toThrow('no');
  expect(() => resizing.step(1320)).toThrow('no');
  expect(layout.mtu).toBe(1320);
  refuses = false;
  expect(resizing.step(1320)).toBe(false);
  expect(done).toEqual(['crew', 'pool', 'host', 'look 1 2 3']);
});

it('looks again into those that could not be looked into, once a second, until they have it or are no more', () => {
  resizing.step(1320);
  isDone = true;
  failed.set(parseSlot(2), 'busy');
  failed.set(parseSlot(3), 'busy');
  expect(resizing.step(1320)).toBe(false);
  expect(done.at(-1)).toBe('look 2 3');
  isDone = true;
  failed.set(parseSlot(3), 'busy');
  expect(resizing.step(1320)).toBe(false);
  expect(done.at(-1)).toBe('look 2 3');
  nowMs = 1000;
  slots = [1, 2];
  expect(resizing.step(1320)).toBe(true);
  expect(done.slice(-2)).toEqual(['look ', 'All links take packets of 1320 bytes; before, 1420']);
});
