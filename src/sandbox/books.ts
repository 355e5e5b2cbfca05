import type { Request } from '../linux/netlink/socket.ts';
import { addRuleset } from '../linux/nftables/ruleset.ts';
import type { Pass } from './pass.ts';
import { type InstalledPolicy, Policies } from './policies.ts';
import { type Layout, sandboxRanges } from './topology/layout.ts';

/** What of a slot stands in the tables now; its elements follow from it. */
export type Standing = { readonly pass: Pass; readonly policy: InstalledPolicy };

/** What the router's tables hold, by slot and by policy: a copy that saves reading. */
export class Books {
  readonly standing = new Map<number, Standing>();
  readonly policies: Policies;

  constructor(layout: Layout) {
    this.policies = new Policies(sandboxRanges(layout));
  }

  get passes(): Pass[] {
    return [...this.standing.values()].map(({ pass }) => pass);
  }

  /** Enters a sandbox; a policy that is new goes into `requests` and `added`. */
  enter(pass: Pass, requests: Request[], added: InstalledPolicy[]): Standing {
    const taken = this.policies.take(pass.policy, pass.via);
    if (taken.added !== undefined) {
      requests.push(...addRuleset(taken.added));
      added.push(taken.policy);
    }
    const standing = { pass, policy: taken.policy };
    this.standing.set(pass.network.slot, standing);
    return standing;
  }

  strike(slot: number): void {
    const standing = this.standing.get(slot);
    if (standing !== undefined) this.policies.give(standing.policy);
    this.standing.delete(slot);
  }
}
