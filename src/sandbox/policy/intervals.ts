import type { Ipv4 } from '../../addr/ipv4.ts';
import { firstAddress, lastAddress, type Prefix, parsePrefix } from '../../addr/prefix.ts';

export type Verdict = 'accept' | 'drop';

/** A line of a longest-prefix table. Of two with one prefix the user's beats the base's, then drop beats accept. */
export type Entry = { readonly prefix: Prefix; readonly verdict: Verdict; readonly from: 'base' | 'user' };

/** Both ends belong to it. */
export type Interval = { readonly first: Ipv4; readonly last: Ipv4; readonly verdict: Verdict };

const ADDRESS_COUNT = 2 ** 32;

/** Lies beneath every table: what nothing matches is dropped. */
const FLOOR: Entry = { prefix: parsePrefix('0.0.0.0/0'), verdict: 'drop', from: 'base' };

/**
 * The table as sorted, disjoint intervals that cover the whole address space; neighbours have different verdicts, so
 * tables that judge every address alike give equal intervals. At most 2 × entries + 1 of them.
 */
export function intervalsOf(entries: readonly Entry[]): Interval[] {
  const intervals: Interval[] = [];
  let next = 0;
  const emit = (last: number, verdict: Verdict): void => {
    if (last < next) return;
    const before = intervals.at(-1);
    if (before?.verdict === verdict) intervals[intervals.length - 1] = { ...before, last: last as Ipv4 };
    else intervals.push({ first: next as Ipv4, last: last as Ipv4, verdict });
    next = last + 1;
  };

  // Two prefixes are nested or disjoint, so those that hold the current address form a stack, the longest on top.
  const stack: Entry[] = [];
  const closeBefore = (address: number): void => {
    for (let top = stack.at(-1); top && lastAddress(top.prefix) < address; top = stack.at(-1)) {
      emit(lastAddress(top.prefix), top.verdict);
      stack.pop();
    }
  };
  for (const entry of [FLOOR, ...entries.toSorted(outermostFirst)]) {
    const first = firstAddress(entry.prefix);
    closeBefore(first);
    const around = stack.at(-1);
    if (around) emit(first - 1, around.verdict);
    stack.push(entry);
  }
  closeBefore(ADDRESS_COUNT);
  return intervals;
}

/** @param intervals that cover the address space, as {@link intervalsOf} gives them */
export function verdictOf(intervals: readonly Interval[], address: Ipv4): Verdict {
  let low = 0;
  let high = intervals.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((intervals[middle]?.last ?? 0) < address) low = middle + 1;
    else high = middle;
  }
  return intervals[low]?.verdict ?? 'drop';
}

/** Of one prefix the entry that wins comes last, and so stands on top of the others. */
function outermostFirst(a: Entry, b: Entry): number {
  return a.prefix.address - b.prefix.address || a.prefix.length - b.prefix.length || strength(a) - strength(b);
}

function strength(entry: Entry): number {
  return (entry.from === 'user' ? 2 : 0) + (entry.verdict === 'drop' ? 1 : 0);
}
