import { createHash } from 'node:crypto';
import type { Prefix } from '../addr/prefix.ts';
import type { Element, Ruleset } from '../plan/ruleset.ts';
import { compilePolicy } from './policy/compile.ts';
import type { Interval } from './policy/intervals.ts';
import { type EgressPolicy, policyId } from './policy/policy.ts';
import { FIRST_POLICY, markOf, POLICY_MAX, policyIn, policyRuleset } from './ruleset/elements.ts';

/** Policies that no sandbox has stay for the next that asks, up to this many. */
const MAX_IDLE = 64;
/** Policies whose meaning is remembered: to work it out costs more than all else that a hand-out from the pool does. */
const MAX_REMEMBERED = 1024;

type Meaning = { readonly intervals: readonly Interval[]; readonly digest: string };

export type InstalledPolicy = {
  readonly number: number;
  readonly comment: string;
  users: number;
  /** What stands in the table of it; unknown as long as nobody has asked for it. */
  ruleset?: Ruleset;
};

/**
 * The egress policies that stand in the router's table, numbered. Sandboxes with policies of one meaning share one: it
 * is known by a digest of the intervals that it compiles to, which is also its comment in the table.
 */
export class Policies {
  readonly #ranges: readonly Prefix[];
  readonly #installed = new Map<string, InstalledPolicy>();
  readonly #meanings = new Map<string, Meaning>();
  #last = FIRST_POLICY - 1;

  /** @param ranges that sandboxes have their addresses from, which no base policy opens */
  constructor(ranges: readonly Prefix[]) {
    this.#ranges = ranges;
  }

  /**
   * Takes over what a table holds already: the elements of the map from number to chain.
   *
   * @param former that made some of it
   */
  adopt(elements: readonly Element[], former?: Policies): void {
    for (const { key, comment } of elements) {
      const [number] = key;
      if (typeof number !== 'number' || comment === undefined) continue;
      const known = former === undefined ? undefined : former.#installed.get(comment);
      const ruleset = known?.number === number ? known.ruleset : undefined;
      this.#installed.set(comment, { number, comment, users: 0, ...(ruleset && { ruleset }) });
      this.#last = Math.max(this.#last, policyIn(number));
    }
  }

  /**
   * Counts one more user; `added` is what must go into the table in the same transaction as that user.
   *
   * @param via number of the tunnel that is the only way; 0 for none
   */
  take(policy: EgressPolicy, via = 0): { readonly policy: InstalledPolicy; readonly added?: Ruleset } {
    const { intervals, digest: meaning } = this.#meaningOf(policy);
    const comment = via === 0 ? meaning : `${meaning} via ${via}`;
    const known = this.#installed.get(comment);
    if (known !== undefined) {
      known.users++;
      known.ruleset ??= policyRuleset(known.number, intervals, comment);
      return { policy: known };
    }
    const number = markOf(this.#nextNumber(), via);
    const added = policyRuleset(number, intervals, comment);
    const made = { number, comment, users: 1, ruleset: added };
    this.#installed.set(comment, made);
    return { policy: made, added };
  }

  /** What should stand in the table of those that are known, but for what is only about to be added. */
  rulesets(added: readonly InstalledPolicy[]): Ruleset[] {
    return [...this.#installed.values()].flatMap((policy) =>
      policy.ruleset === undefined || added.includes(policy) ? [] : [policy.ruleset],
    );
  }

  give(policy: InstalledPolicy): void {
    policy.users--;
  }

  /** A transaction that added these has failed: they are not in the table. */
  forget(added: readonly InstalledPolicy[]): void {
    for (const { comment } of added) this.#installed.delete(comment);
  }

  /** Takes out of the count, oldest first, what is idle beyond what is kept: to be removed from the table. */
  dropIdle(): InstalledPolicy[] {
    const idle = [...this.#installed.values()].filter(({ users }) => users === 0);
    const dropped = idle.slice(0, Math.max(0, idle.length - MAX_IDLE));
    this.forget(dropped);
    return dropped;
  }

  /** The same of those that were taken over and nobody has asked for: whether they are what they were is unknown. */
  dropUnknown(): InstalledPolicy[] {
    const dropped = [...this.#installed.values()].filter(({ ruleset }) => ruleset === undefined);
    this.forget(dropped);
    return dropped;
  }

  /** After so many that a number comes again those that are in use are passed over. */
  #nextNumber(): number {
    const taken = new Set([...this.#installed.values()].map(({ number }) => policyIn(number)));
    do this.#last = this.#last >= POLICY_MAX ? FIRST_POLICY : this.#last + 1;
    while (taken.has(this.#last));
    return this.#last;
  }

  #meaningOf(policy: EgressPolicy): Meaning {
    const id = policyId(policy);
    let meaning = this.#meanings.get(id);
    if (meaning === undefined) {
      const intervals = compilePolicy(policy, this.#ranges);
      meaning = { intervals, digest: digest(intervals) };
      if (this.#meanings.size >= MAX_REMEMBERED) this.#meanings.clear();
      this.#meanings.set(id, meaning);
    }
    return meaning;
  }
}

/** What is to be taken out of the table with a policy: what a set holds goes with it, so the intervals need not be known. */
export function removalOf({ number, comment }: InstalledPolicy): Ruleset {
  return policyRuleset(number, [], comment);
}

function digest(intervals: readonly Interval[]): string {
  const text = intervals.map(({ first, last, verdict }) => `${first}-${last} ${verdict}`).join('\n');
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
