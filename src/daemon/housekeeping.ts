import type { Ipv4 } from '../addr/ipv4.ts';
import type { HostMesh } from '../mesh/host-mesh.ts';
import type { BridgeWatch } from '../sandbox/bridge-watch/watch.ts';
import { inBrief, type NewEvent, type Problem } from '../sandbox/event.ts';
import type { Gate } from '../sandbox/gate.ts';
import { passOf } from '../sandbox/holding.ts';
import type { RootNamespace } from '../sandbox/host/root.ts';
import type { Manager } from '../sandbox/manager.ts';
import type { Pass } from '../sandbox/pass.ts';
import type { Reaper } from '../sandbox/reaper.ts';
import type { Reports } from '../sandbox/reports/reports.ts';
import type { Tracking } from '../sandbox/tracking.ts';
import type { Verification } from '../sandbox/verification.ts';
import { Part } from './part.ts';

/** The tick of quarantine and clean-up. */
const IDLE_REST_MS = 20;
/** While the kernel removes what was let go: to ask it without a pause would take the processor that it needs. */
const KERNEL_REST_MS = 2;
/** How often, at the most, it is heard what came in from the wire and from the rules. */
const LISTEN_MS = 10;
/** How often the root namespace is looked at. */
const WATCH_MS = 5_000;
/** How often, at the most, flows are ended of those who have left a group on another host: each time all are looked at. */
const FAR_FLOWS_MS = 1_000;
/** How often it is asked whether somebody has changed rules, there or in the router namespace. */
const ASK_MS = 100;

export type HousekeepingOptions = {
  readonly root: RootNamespace;
  readonly reports: Reports;
  readonly reaper: Reaper;
  readonly bridge: BridgeWatch;
  readonly manager: Manager;
  readonly gate: Gate;
  readonly tracking: Tracking;
  readonly verification: Verification;
  readonly mesh: HostMesh | undefined;
  /** of a clock that never goes back */
  readonly nowMs: () => number;
  readonly emit: (event: NewEvent) => void;
  /** Hears what could not be done; it is tried again. */
  readonly failed: (error: unknown) => void;
};

/** The work that nobody waits for, a short step at a time, in the order in which one part relies on another. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  #owesPolicies = true;
  /** A table of the root namespace that was made anew has none of the sandboxes' elements. */
  #owesElements = false;
  readonly #farFlows = new Set<Ipv4>();
  #farFlowsMs = Number.NEGATIVE_INFINITY;
  #watchedMs = 0;
  #askedMs = Number.NEGATIVE_INFINITY;
  #listenedMs = Number.NEGATIVE_INFINITY;
  readonly #parts;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    const { reports, reaper, bridge, manager, verification, nowMs, failed } = options;
    const part = <T>(what: string, work: () => T, otherwise: T): Part<T> =>
      new Part({ what, work, otherwise, failed, nowMs });
    this.#parts = {
      root: part('look after the root namespace', () => this.#watchRoot(), undefined),
      changes: part('see whether rules have changed', () => this.#options.root.haveRulesChanged(), false),
      tables: part('look after the router’s tables', () => this.#watchTables(), undefined),
      reports: part('read what the rules report', () => reports.step(nowMs()), undefined),
      reaper: part('clear up after removals', () => reaper.step(), []),
      bridge: part('watch the bridge', () => bridge.step(nowMs()), undefined),
      again: part('do again what was refused', () => manager.tryAgain(), undefined),
      verification: part('verify what was adopted', () => verification.step(nowMs()), false),
      policies: part('end flows that policies deny', () => this.#holdToPolicies(), undefined),
      farFlows: part('end flows of those who have left a group', () => this.#endFarFlows(), undefined),
      mesh: part('keep the mesh up', () => this.#keepMesh(), undefined),
      pool: part('fill the pool', () => manager.fillPool(), false),
    };
  }

  /** Ends, in its own time, what policies deny. */
  owePolicies(): void {
    this.#owesPolicies = true;
  }

  /** The same, of sandboxes on other hosts that are in no group here any more: the rules stop what is new already. */
  oweFarFlows(addresses: readonly Ipv4[]): void {
    for (const address of addresses) this.#farFlows.add(address);
  }

  /** What could not be done when it was last tried. */
  problems(): Problem[] {
    return Object.values(this.#parts).flatMap(({ failure }) =>
      failure === undefined ? [] : [{ code: 'work_failed', message: failure }],
    );
  }

  /** A little of it. Returns after how many ms there is more of it. */
  step(): number {
    const { root, changes, tables, reports, reaper, bridge, again, verification, policies, farFlows, mesh, pool } =
      this.#parts;
    const nowMs = this.#options.nowMs();
    const listens = nowMs - this.#listenedMs >= LISTEN_MS;
    if (listens) this.#listenedMs = nowMs;
    const asks = nowMs - this.#askedMs >= ASK_MS;
    if (asks) this.#askedMs = nowMs;
    if (nowMs - this.#watchedMs >= WATCH_MS || (asks && changes.step())) root.step();
    if (asks && this.#options.verification.rulesAreVerified) tables.step();
    // before a slot can change hands: reports name slots
    if (listens) reports.step();
    // a slot of which an element may be left is given to nobody
    const freed = this.#options.verification.rulesAreVerified ? reaper.step() : [];
    // an address that is free again is asked for at once
    if (freed.length > 0) this.#options.bridge.expect();
    if (listens || freed.length > 0) bridge.step();
    again.step();
    if (this.#farFlows.size > 0 && nowMs - this.#farFlowsMs >= FAR_FLOWS_MS) farFlows.step();
    mesh.step();
    const verifies = verification.step();
    if (this.#owesPolicies && this.#options.verification.rulesAreVerified) policies.step();
    const fills = !verifies && pool.step();
    if (verifies || fills) return 0;
    const { reaper: removals, manager, verification: adopted } = this.#options;
    const underWay = removals.pending + manager.building + Number(!adopted.isDone);
    return underWay > 0 ? KERNEL_REST_MS : IDLE_REST_MS;
  }

  /**
   * At first: a policy that was changed when the last run ended may not have taken hold of what is established. Not before
   * its elements stand: what is cut while others decide comes back, and is established for good.
   */
  #holdToPolicies(): void {
    this.#options.tracking.cutDenied(this.#passes());
    this.#owesPolicies = false;
  }

  /** Others change the root namespace too: what is ours there is put back. */
  #watchRoot(): void {
    this.#options.root.watch((repairs) => {
      this.#owesElements = true;
      this.#options.emit({ type: 'host.repaired', message: `Put back in the root namespace: ${inBrief(repairs)}` });
    });
    this.#watchedMs = this.#options.nowMs();
    if (!this.#owesElements) return;
    this.#options.gate.restore(this.#passes());
    this.#owesElements = false;
    // what it should have stopped may be established
    this.#owesPolicies = true;
  }

  /** Nobody but this daemon has business there. */
  #watchTables(): void {
    if (!this.#options.gate.haveRulesChanged()) return;
    const repairs = this.#options.gate.restore(this.#passes());
    if (repairs.length === 0) return;
    this.#options.emit({ type: 'host.repaired', message: `Put right in the router’s tables: ${inBrief(repairs)}` });
    this.#owesPolicies = true;
  }

  #endFarFlows(): void {
    this.#farFlowsMs = this.#options.nowMs();
    this.#options.tracking.forgetFar(this.#farFlows);
    this.#farFlows.clear();
  }

  #keepMesh(): void {
    this.#options.mesh?.step(this.#options.nowMs(), (changes) => {
      this.#options.emit({ type: 'host.repaired', message: `Put right in the mesh: ${inBrief(changes)}` });
    });
  }

  #passes(): Pass[] {
    return [...this.#options.manager.live.values()].map(passOf);
  }
}
