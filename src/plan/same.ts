import type { KernelObject } from './state.ts';

/** The kernel keeps a bucket's depth as time, in ticks of 64 ns: what it says back is off by up to two of them. */
const SHAPER_SLACK_SECONDS = 2 * 64e-9;

/** Whether two objects with one key are alike in everything else too. */
export function sameObject(a: KernelObject, b: KernelObject): boolean {
  if (a.kind === 'shaper' && b.kind === 'shaper') {
    return a.rate === b.rate && Math.abs(a.burst - b.burst) <= 1 + a.rate * SHAPER_SLACK_SECONDS;
  }
  // its key says all of it, and the family in one way
  if (a.kind === 'rule') return true;
  return alike(a, b);
}

/** Whether two values of plain data have the same parts. */
export function alike(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = Object.entries(a);
  if (left.length !== Object.keys(b).length) return false;
  return left.every(([name, value]) => alike(value, (b as Record<string, unknown>)[name]));
}
