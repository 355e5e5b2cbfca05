import type { Mac } from '../addr/mac.ts';
import type { Slot } from '../ipam/lease.ts';
import { leasesOfSlots } from '../ipam/lookup.ts';
import type { Store } from '../ipam/store.ts';
import { listLeases } from '../ipam/transition.ts';
import type { Kernel } from '../linux/apply.ts';
import type { NetlinkSocket } from '../linux/netlink/socket.ts';
import { listFdbEntries, listNeighbours, listRoutes, listShapers } from '../linux/observe/attached.ts';
import { listLinkIndexes } from '../linux/observe/indexes.ts';
import { findLinks, linkObjects } from '../linux/observe/links.ts';
import { readLinkEnd } from '../linux/route/ifreq.ts';
import { diff, type Plan } from '../plan/diff.ts';
import { type KernelObject, type Link, ROUTER } from '../plan/state.ts';
import type { Gate } from './gate.ts';
import { type Holding, holdingOf } from './holding.ts';
import { Outside, slotOf } from './outside.ts';
import type { Survey } from './survey.ts';
import { BRIDGE, cable, ETH0 } from './topology/layout.ts';

/** Sandboxes that one step looks into, so that a step stays short. */
const SANDBOXES_PER_STEP = 32;

export type VerificationParts = {
  readonly store: Store;
  readonly kernel: Kernel;
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
  readonly #rest: (() => void)[];
  readonly #outside = new Outside();
  #cables: readonly number[] = [];
  /** Why sandboxes could not be looked into, by slot. */
  readonly #failed = new Map<Slot, string>();
  /** Why the next step could not be done, and when it is tried again. */
  #waiting: { readonly why: string; readonly untilMs: number } | undefined;

  /** @param slots of the sandboxes and warm networks that were adopted, ascending */
  constructor(parts: VerificationParts, slots: readonly Slot[]) {
    this.#parts = parts;
    this.#rules = parts.gate.verifications().map((verify) => () => {
      const changes = verify();
      if (changes.length > 0) parts.rulesRepaired(changes);
    });
    this.#rest = [...this.#looksAround(), () => this.#sweep()];
    for (let at = 0; at < slots.length; at += SANDBOXES_PER_STEP) {
      const some = slots.slice(at, at + SANDBOXES_PER_STEP);
      this.#rest.push(() => this.#verify(some));
    }
  }

  /** Whether the router's tables hold what they should and no more. */
  get rulesAreVerified(): boolean {
    return this.#rules.length === 0;
  }

  get isDone(): boolean {
    return this.#rules.length + this.#rest.length === 0;
  }

  /** One step, or none while one that failed waits. Says whether there is more that can be done now. */
  step(nowMs: number): boolean {
    if (this.isDone || (this.#waiting !== undefined && nowMs < this.#waiting.untilMs)) return false;
    try {
      this.#next();
      this.#waiting = undefined;
    } catch (error) {
      this.#waiting = { why: reasonOf(error), untilMs: nowMs + AGAIN_MS };
    }
    return !this.isDone && this.#waiting === undefined;
  }

  /** For what relies on the tables being as they are said to be: they are, when this returns. */
  finishRules(): void {
    while (!this.rulesAreVerified) this.#next();
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

  /** Of sandboxes: they have been looked into since. */
  forgetFailures(): void {
    this.#failed.clear();
  }

  /** Where it throws it is still to be done. */
  #next(): void {
    const steps = this.rulesAreVerified ? this.#rest : this.#rules;
    steps[0]?.();
    steps.shift();
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

  #verify(slots: readonly Slot[]): void {
    const { store, kernel } = this.#parts;
    const [first, last] = [slots[0], slots.at(-1)];
    if (first === undefined || last === undefined) return;
    const asked = new Set(slots);
    // some may have been removed meanwhile, or belong to another already
    const holdings = leasesOfSlots(store, first, last)
      .filter(({ slot, state }) => asked.has(slot) && (state === 'warm' || state === 'ready'))
      .map(holdingOf);
    kernel.withSocket(ROUTER, (socket) => this.#lookAtCables(socket, holdings));
    for (const holding of holdings) {
      try {
        this.#verifyOne(holding);
      } catch (error) {
        this.#failed.set(holding.key.slot, reasonOf(error));
      }
    }
  }

  #lookAtCables(socket: NetlinkSocket, holdings: readonly Holding[]): void {
    const routed = holdings.filter(({ topology }) => topology !== 'bridge').map(({ key }) => cable(key.slot));
    // that its other end is the sandbox's is for the inside to say
    const ends = routed.flatMap(({ index }) => readLinkEnd(socket, ROUTER, index) ?? []);
    this.#outside.add(
      [],
      ends.map((end) => ({ end, peerIndex: ETH0.index })),
    );
    // what makes a link a port only netlink tells
    const ports = holdings.filter(({ topology }) => topology === 'bridge').map(({ key }) => cable(key.slot));
    if (ports.length === 0) return;
    const { objects, halves } = linkObjects(ROUTER, findLinks(socket, ROUTER, [...ports, BRIDGE]));
    this.#outside.add(objects, halves);
  }

  #verifyOne(holding: Holding): void {
    const { kernel, survey, repaired } = this.#parts;
    if (survey.sandboxPlan(holding, this.#outside.of(holding)).length === 0) return;
    // What was seen of the router is a little old: what is to be repaired is what is wrong now.
    const plan = survey.sandboxPlan(holding);
    if (plan.length === 0) return;
    kernel.apply(plan);
    repaired(holding, plan);
  }
}

/** What it takes to delete a cable: the details do not matter. */
function cableOf(slot: number): KernelObject {
  const end = { namespace: ROUTER, link: cable(slot), mac: new Uint8Array(6) as Mac, mtu: 0, up: false };
  return { kind: 'veth', ...end, peer: end };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
