import { type Prefix, parsePrefix } from '../../addr/prefix.ts';
import { type Entry, type Interval, intervalsOf, type Verdict } from './intervals.ts';
import type { Egress, EgressPolicy } from './policy.ts';
import { SPECIAL_PURPOSE } from './special-purpose.ts';

const EVERYTHING = parsePrefix('0.0.0.0/0');

/** Closed under every base, `open` too: they mean this host, this link (cloud metadata among it) or nobody. */
const PROTECTED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'].map(parsePrefix);

/**
 * What a policy says of every address, as intervals that cover the address space. `hostRanges` are the host's sandbox
 * ranges and whatever else of the host no sandbox may reach unasked; they and the protected ranges open only to an
 * allowed prefix that is as long or longer, never to one that merely holds them.
 */
export function compilePolicy(policy: EgressPolicy, hostRanges: readonly Prefix[]): Interval[] {
  return intervalsOf([
    ...baseOf(policy.egress, hostRanges),
    ...entries(policy.allow, 'accept', 'user'),
    ...entries(policy.deny, 'drop', 'user'),
  ]);
}

/**
 * The one base entry that accepts is 0.0.0.0/0, so a denied prefix is never undone by a base. `none` lists what is
 * protected too: otherwise allowing 0.0.0.0/0 would open it.
 */
function baseOf(egress: Egress, hostRanges: readonly Prefix[]): Entry[] {
  const special = egress === 'internet' ? SPECIAL_PURPOSE.map(({ prefix }) => prefix) : [];
  return [
    ...entries([EVERYTHING], egress === 'none' ? 'drop' : 'accept', 'base'),
    ...entries([...PROTECTED, ...special, ...hostRanges], 'drop', 'base'),
  ];
}

function entries(prefixes: readonly Prefix[], verdict: Verdict, from: Entry['from']): Entry[] {
  return prefixes.map((prefix) => ({ prefix, verdict, from }));
}
