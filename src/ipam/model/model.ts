import type { HandClock } from '../../../lab/hand-clock.ts';
import type { LeaseRequest } from '../allocator.ts';
import { PROBE_MS } from '../bridge/probe.ts';
import type { LeaseKey, SandboxId, Topology } from '../lease.ts';
import type { Assignment } from '../transition.ts';
import { BridgeModel } from './bridge.ts';

interface Held {
  slot: number;
  generation: number;
  state: string;
  topology: Topology;
  owner: SandboxId | undefined;
  specification: string | undefined;
  bridgeAddress: number | undefined;
  boot: string;
  since: number;
  waits: { entered: number; floor: number; flushed: boolean } | undefined;
}

function end({ waits }: Held): number {
  return (waits?.entered ?? 0) + (waits?.floor ?? 0);
}

function pairs(leases: readonly Held[]): number[][] {
  return leases.map(({ slot, generation }) => [slot, generation]);
}

/** What the store should do, by plain lists: every answer is the result or the code of the refusal. */
export class Model {
  readonly clock: HandClock;
  readonly slots: number;
  held: Held[] = [];
  /** The longest free first, with the generation each had last. */
  free = [] as { slot: number; generation: number }[];
  /** The longest in the pool first. */
  pool: Held[] = [];
  readonly bridge = new BridgeModel();

  constructor(clock: HandClock, slots: number) {
    this.clock = clock;
    this.slots = slots;
    for (let slot = 1; slot <= slots; slot += 1) this.free.push({ slot, generation: 0 });
  }

  owned(owner: SandboxId): Held | undefined {
    return this.held.find((one) => one.owner === owner && ['creating', 'ready', 'removing'].includes(one.state));
  }

  find(key: LeaseKey, ...states: string[]): Held | undefined {
    return this.held.find(
      ({ slot, generation, state, boot }) =>
        slot === key.slot && generation === key.generation && states.includes(state) && boot === this.clock.bootId,
    );
  }

  claim(requests: readonly LeaseRequest[]): unknown {
    if (requests.length < 1 || requests.length > this.slots) return 'invalid_count';
    if (this.free.length < requests.length) {
      const waiting = this.held.filter(({ state }) => state === 'quarantined');
      const live = this.held.length - waiting.length;
      return ['slots_exhausted', this.free.length, live, waiting.length, this.nextFree(waiting)];
    }
    const onBridge = requests.filter(({ topology }) => topology === 'bridge').length;
    if (onBridge > 0 && this.bridge.range === undefined) return 'bridge_range_unset';
    if (this.bridge.probed().length < onBridge) return ['bridge_exhausted', ...this.usage()];
    const named = requests.flatMap(({ sandboxId }) => sandboxId ?? []);
    if (new Set(named).size < named.length || named.some((owner) => this.owned(owner))) return 'sandbox_exists';
    const addresses = this.bridge.take(onBridge);
    const taken = this.free.splice(0, requests.length).map(({ slot, generation }, index): Held => {
      const { topology, sandboxId: owner, specification } = requests[index] as LeaseRequest;
      const { bootId: boot, wall: since } = this.clock;
      const request = { topology, owner, specification };
      const bridgeAddress = topology === 'bridge' ? addresses.shift() : undefined;
      const state = 'creating';
      return { slot, generation: generation + 1, state, ...request, bridgeAddress, boot, since, waits: undefined };
    });
    this.held.push(...taken);
    return pairs(taken);
  }

  /** How long until time alone frees one of these. */
  nextFree(waiting: Held[]): number | undefined {
    const left = waiting
      .filter(({ boot, waits }) => boot === this.clock.bootId && waits?.flushed)
      .map((one) => Math.max(0, end(one) - this.clock.monotonic));
    return left.length === 0 ? undefined : Math.min(...left);
  }

  /** Free, being probed, live, quarantined, in conflict, and how long until one of them is free. */
  usage(): unknown[] {
    const { held, conflicts } = this.bridge;
    const [free, unprobed] = [this.bridge.probed().length, this.bridge.unprobed().length];
    const waiting = this.held.filter(({ state, bridgeAddress }) => state === 'quarantined' && bridgeAddress);
    const next = this.nextFree(waiting.filter((one) => !this.conflicting(one)));
    const alone = [...conflicts.keys()].filter((address) => !held.has(address));
    return [free, unprobed, held.size - waiting.length, waiting.length, alone.length, unprobed > 0 ? PROBE_MS : next];
  }

  conflicting({ bridgeAddress }: Held): boolean {
    return bridgeAddress !== undefined && this.bridge.conflicts.has(bridgeAddress);
  }

  advance(key: LeaseKey, to: string): unknown {
    const from = to === 'removing' ? ['creating', 'warm', 'ready'] : ['creating'];
    const lease = this.find(key, ...from);
    if (lease === undefined) return 'lease_state';
    if (to !== 'removing' && (lease.owner !== undefined) !== (to === 'ready')) return 'lease_state';
    return this.enter(lease, to);
  }

  assign(assignments: readonly Assignment[]): unknown {
    if (assignments.length === 0) return 'invalid_count';
    const taken = new Map<Held, Assignment>();
    const owners = new Set<SandboxId>();
    for (const assignment of assignments) {
      const { key, sandboxId } = assignment;
      if (this.owned(sandboxId) || owners.has(sandboxId)) return 'sandbox_exists';
      const lease = this.find(key, 'warm');
      if (lease === undefined || taken.has(lease) || this.conflicting(lease)) return 'lease_state';
      taken.set(lease, assignment);
      owners.add(sandboxId);
    }
    for (const [lease, { sandboxId, specification, to }] of taken) {
      lease.owner = sandboxId;
      lease.specification = specification;
      this.enter(lease, to);
    }
    return undefined;
  }

  specify(key: LeaseKey, specification: string): unknown {
    const lease = this.find(key, 'ready');
    if (lease === undefined) return 'lease_state';
    lease.specification = specification;
    return undefined;
  }

  quarantine(key: LeaseKey, floor: number): unknown {
    const lease = this.find(key, 'removing');
    if (lease === undefined) return 'lease_state';
    lease.waits = { entered: this.clock.monotonic, floor, flushed: false };
    return this.enter(lease, 'quarantined');
  }

  flush(keys: LeaseKey[]): unknown {
    const leases = keys.map((key) => this.find(key, 'quarantined'));
    if (leases.includes(undefined)) return 'lease_state';
    for (const lease of leases) if (lease?.waits) lease.waits.flushed = true;
    return undefined;
  }

  restAgain(keys: LeaseKey[], floor: number): unknown {
    const leases = keys.map((key) => this.find(key, 'quarantined'));
    if (leases.includes(undefined)) return 'lease_state';
    for (const lease of leases) {
      if (lease?.waits) lease.waits = { ...lease.waits, entered: this.clock.monotonic, floor };
    }
    return undefined;
  }

  release(limit: number): unknown {
    const due = this.held
      .filter((one) => one.state === 'quarantined' && one.boot === this.clock.bootId)
      .filter(({ waits }) => waits?.flushed && this.clock.monotonic - waits.entered >= waits.floor)
      .toSorted((one, other) => end(one) - end(other) || one.slot - other.slot)
      .slice(0, limit);
    this.held = this.held.filter((one) => !due.includes(one));
    this.free.push(...due.map(({ slot, generation }) => ({ slot, generation })));
    for (const { bridgeAddress } of due) if (bridgeAddress !== undefined) this.bridge.giveBack(bridgeAddress);
    return pairs(due);
  }

  start(): unknown {
    const lost = this.held.filter(({ boot }) => boot !== this.clock.bootId);
    for (const lease of lost) {
      lease.boot = this.clock.bootId;
      lease.waits = { entered: this.clock.monotonic, floor: 1000, flushed: true };
      this.enter(lease, 'quarantined');
    }
    return pairs(lost.toSorted((one, other) => one.slot - other.slot));
  }

  enter(lease: Held, state: string): undefined {
    this.pool = this.pool.filter((one) => one !== lease);
    if (state === 'warm') this.pool.push(lease);
    lease.state = state;
    lease.since = this.clock.wall;
  }

  /** The slots of the warm pool that may be handed out. */
  warm(topology: Topology): number[] {
    return this.pool.filter((one) => one.topology === topology && !this.conflicting(one)).map(({ slot }) => slot);
  }

  /** What is held, by slot, as the fields of a Lease. */
  list(): unknown[] {
    return this.held
      .toSorted((one, other) => one.slot - other.slot)
      .map(({ waits, ...fields }) => ({
        ...fields,
        quarantine: waits && { due: waits.entered + waits.floor, flushed: waits.flushed },
      }));
  }
}
