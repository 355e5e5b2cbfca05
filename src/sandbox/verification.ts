import type { Mac } from '../addr/mac.ts';
import type { Slot } from '../ipam/lease.ts';
import { leasesOfSlots } from '../ipam/lookup.ts';
import type { Store } from '../ipam/store.ts';
import { listLeases } from '../ipam/transition.ts';
import type { Kernel } from '../linux/apply.ts';
import { listFdbEntries, listNeighbours, listShapers } from '../linux/observe/attached.ts';
import { listLinkIndexes } from '../linux/observe/indexes.ts';
import { listRoutes } from '../linux/observe/routes.ts';
import { diff, type Plan } from '../plan/diff.ts';
import { type KernelObject, type Link, ROUTER } from '../plan/state.ts';
import type { Batch } from './crew/batch.ts';
import type { Crew } from './crew/crew.ts';
import type { Gate } from './gate.ts';
import { type Holding, holdingOf, networkOf } from './holding.ts';
import { Outside, slotOf } from './outside.ts';
import type { Survey } from './survey.ts';
import { desired } from './topology/desired.ts';
import { BRIDGE, cable, type Layout } from './topology/layout.ts';
import type { Network } from './topology/network.ts';
import { isLink, isWhole } from './whole.ts';

/** Sandboxes that one step looks into, so that a step stays short; the helper looks into others meanwhile. */
const LOOKED_PER_STEP = 16;
/** Of those that were looked into, by whomever: how many one step is done with. */
const SETTLED_PER_STEP = 128;

export type VerificationParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly crew: Crew;
  readonly layout: Layout;
  readonly survey: Survey;
  readonly gate: Gate;
  /** A sandbox that was not as it should be is again. */
  readonly repaired: (holding: Holding, plan: Plan) => void;
  /** The router's tables were not as they should be and are again. */
  readonly rulesRepaired: (changes: readonly string[]) => void;
};

/** After a step that failed: it is tried again. */
const AGAIN_MS = 1_000;

/**
 * Looks, after a start, at all that an earlier run left, a short step at a time, while sandboxes come and go: what of
 * the router's tables and of the sandboxes' networks is not as it should be is repaired in place, what belongs to nobody
 * is removed.
 *
 * The tables come first: nobody may get a slot of which an element is left.
 */
export class Verification {
  readonly #parts: VerificationParts;
  readonly #rules: (() => void)[];
  #rest: (() => void)[];
  #outside = new Outside();
  #cables: readonly number[] = [];
  /** Of those that are looked into. */
  #slots: readonly Slot[];
  #networks: readonly Network[];
  #links: Batch | undefined;
  /** How many of them are seen to, from the first. */
  #settled = 0;
  readonly #failed = new Map<Slot, string>();
  /** Why the next step could not be done, and when it is tried again. */
  #waiting: { readonly why: string; readonly untilMs: number } | undefined;

  /** @param adopted the sandboxes and warm networks that were, by slot */
  constructor(parts: VerificationParts, adopted: readonly Holding[]) {
    this.#parts = parts;
    this.#slots = adopted.map(({ key }) => key.slot);
    this.#networks = adopted.map(networkOf);
    this.#rules = parts.gate.verifications().map((verify) => () => {
      const changes = verify();
      if (changes.length > 0) parts.rulesRepaired(changes);
    });
    this.#rest = [...this.#looksAround(), () => this.#sweep()];
  }

  /**
   * Looks into networks once more, since they are to be otherwise than they were.
   *
   * @param holdings sandboxes and warm networks, by slot; what was begun before must be done
   */
  lookAgain(holdings: readonly Holding[]): void {
    if (!this.isDone) throw new Error('What is verified is to be verified before it is again');
    // of none it was not let go of
    if (this.#links !== undefined) this.#forget(this.#links);
    this.#slots = holdings.map(({ key }) => key.slot);
    this.#networks = holdings.map(networkOf);
    this.#settled = 0;
    this.#rest = [...this.#looksAround(), () => this.#sweep()];
  }

  /** Whether the router's tables hold what they should and no more. */
  get rulesAreVerified(): boolean {
    return this.#rules.length === 0;
  }

  get isDone(): boolean {
    return this.#rules.length + this.#rest.length === 0 && this.#settled === this.#slots.length;
  }

  /** One step, or none while one that failed waits. Says whether there is more that this thread can do now. */
  step(nowMs: number): boolean {
    if (this.isDone || (this.#waiting !== undefined && nowMs < this.#waiting.untilMs)) return false;
    try {
      // the helper begins with the sandboxes while this thread looks at what is around them
      this.#links ??= this.#parts.crew.begin('compare', this.#networks);
      const hasDone = this.#next(this.#links);
      this.#waiting = undefined;
      return hasDone && !this.isDone;
    } catch (error) {
      this.#waiting = { why: reasonOf(error), untilMs: nowMs + AGAIN_MS };
      return false;
    }
  }

  /** For what relies on the tables being as they are said to be: they are, when this returns. */
  finishRules(): void {
    while (!this.rulesAreVerified) takeStep(this.#rules);
  }

  problems(): { readonly code: string; readonly message: string }[] {
    const code = 'adoption_failed';
    const [first, ...others] = [...this.#failed].map(([slot, why]) => `slot ${slot}: ${why}`);
    const more = others.length === 0 ? '' : `, and ${others.length} others`;
    return [
      ...(this.#waiting === undefined
        ? []
        : [{ code, message: `Cannot verify what the last run left, and will try again: ${this.#waiting.why}` }]),
      ...(first === undefined ? [] : [{ code, message: `Cannot verify the network of ${first}${more}` }]),
    ];
  }

  /** Why sandboxes could not be looked into, by slot. */
  get failed(): ReadonlyMap<Slot, string> {
    return this.#failed;
  }

  /** Of sandboxes: they have been looked into since. */
  forgetFailures(): void {
    this.#failed.clear();
  }

  /** Says whether there was anything to do for this thread. */
  #next(links: Batch): boolean {
    const steps = this.rulesAreVerified ? this.#rest : this.#rules;
    if (steps.length === 0) return this.#lookAtSome(links);
    takeStep(steps);
    return true;
  }

  /** What hangs on the router's links, a table at a time; the links themselves are looked at by and by. */
  #looksAround(): (() => void)[] {
    const { kernel } = this.#parts;
    const links = new Map<number, Link>([[BRIDGE.index, BRIDGE]]);
    const findCables = (): void => {
      const indexes = kernel.withSocket(ROUTER, listLinkIndexes);
      this.#cables = indexes.flatMap((index) => slotOf(index) ?? []);
      for (const link of this.#cables.map(cable)) links.set(link.index, link);
    };
    const lists = [listRoutes, listNeighbours, listFdbEntries, listShapers].map(
      (list) => () => this.#outside.add(kernel.withSocket(ROUTER, (socket) => list(socket, ROUTER, links))),
    );
    return [findCables, ...lists];
  }

  /** Cables that were removed since they were seen are no failure, and a new one has a lease. */
  #sweep(): void {
    const { store, kernel } = this.#parts;
    const holdings = listLeases(store)
      .filter(({ state }) => state !== 'quarantined')
      .map(holdingOf);
    const held = new Set<number>(holdings.map(({ key }) => key.slot));
    const orphans = this.#outside.orphans(holdings);
    for (const slot of this.#cables) if (!held.has(slot)) orphans.push(cableOf(slot));
    kernel.remove(diff(orphans, []));
  }

  #lookAtSome(links: Batch): boolean {
    const { crew } = this.#parts;
    const hasLooked = crew.join(links, LOOKED_PER_STEP);
    crew.advance(links, 0);
    const from = this.#settled;
    let next = from;
    const last = Math.min(this.#slots.length, next + SETTLED_PER_STEP);
    while (next < last && links.outcome(next) !== 'pending') next++;
    this.#settle(links, next);
    if (this.isDone) this.#forget(links);
    return hasLooked || next > from;
  }

  /** What was read of ten thousand sandboxes is a good part of the daemon's memory, and of no more use. */
  #forget(links: Batch): void {
    this.#parts.crew.finish(links);
    this.#outside = new Outside();
    this.#networks = [];
    this.#cables = [];
    this.#links = undefined;
  }

  /** Repairs those before `next` that are not as they should be. */
  #settle(links: Batch, next: number): void {
    const { store } = this.#parts;
    const from = this.#settled;
    const slots = this.#slots.slice(from, next);
    const [first, last] = [slots[0], slots.at(-1)];
    if (first === undefined || last === undefined) return;
    // some may have been removed meanwhile, or belong to another already
    const leases = new Map(leasesOfSlots(store, first, last).map((lease) => [lease.slot, lease]));
    for (const [index, slot] of slots.entries()) {
      const lease = leases.get(slot);
      if (lease === undefined || (lease.state !== 'warm' && lease.state !== 'ready')) continue;
      const holding = holdingOf(lease);
      if (links.outcome(from + index) === 'done' && this.#isWholeAround(holding)) continue;
      try {
        this.#repair(holding);
      } catch (error) {
        this.#failed.set(slot, reasonOf(error));
      }
    }
    this.#settled = next;
  }

  /** Of what hangs on the router's links. */
  #isWholeAround(holding: Holding): boolean {
    const wanted = desired(networkOf(holding), this.#parts.layout).filter((object) => !isLink(object));
    return isWhole(this.#outside.of(holding), wanted, ROUTER);
  }

  /** What was seen of it is a little old: what is to be repaired is what is wrong now. */
  #repair(holding: Holding): void {
    const { kernel, survey, repaired } = this.#parts;
    const plan = survey.sandboxPlan(holding);
    if (plan.length === 0) return;
    kernel.apply(plan);
    repaired(holding, plan);
  }
}

/** Where it throws it is still to be done. */
function takeStep(steps: (() => void)[]): void {
  steps[0]?.();
  steps.shift();
}

/** What it takes to delete a cable: the details do not matter. */
function cableOf(slot: number): KernelObject {
  const end = { namespace: ROUTER, link: cable(slot), mac: new Uint8Array(6) as Mac, mtu: 0, up: false };
  return { kind: 'veth', ...end, peer: end };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
