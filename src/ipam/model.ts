import type { LeaseKey, SandboxId } from './lease.ts';

type Owner = SandboxId | undefined;

/** A clock set by hand, in whole milliseconds. */
export class HandClock {
  bootId = 'boot-0';
  monotonic = 10_000;
  wall = 1_700_000_000_000;
  monotonicMs = (): number => this.monotonic;
  wallMs = (): number => this.wall;
}

interface Held {
  slot: number;
  generation: number;
  state: string;
  owner: Owner;
  boot: string;
  since: number;
  waits: { entered: number; floor: number; flushed: boolean } | undefined;
}

function end({ waits }: Held): number {
  return (waits?.entered ?? 0) + (waits?.floor ?? 0);
}

/** What the store should do, by plain lists: every answer is the result or the code of the refusal. */
export class Model {
  readonly clock: HandClock;
  readonly slots: number;
  held: Held[] = [];
  /** The longest free first, with the generation each had last. */
  free = [] as { slot: number; generation: number }[];

  constructor(clock: HandClock, slots: number) {
    this.clock = clock;
    this.slots = slots;
    for (let slot = 1; slot <= slots; slot += 1) this.free.push({ slot, generation: 0 });
  }

  owned(owner: Owner): Held | undefined {
    return this.held.find((one) => one.owner === owner && ['creating', 'ready', 'removing'].includes(one.state));
  }

  find(key: LeaseKey, ...states: string[]): Held | undefined {
    return this.held.find(
      ({ slot, generation, state, boot }) =>
        slot === key.slot && generation === key.generation && states.includes(state) && boot === this.clock.bootId,
    );
  }

  claim(wanted: Owner[]): unknown {
    if (wanted.length < 1 || wanted.length > this.slots) return 'invalid_count';
    if (this.free.length < wanted.length) {
      const waiting = this.held.filter(({ state }) => state === 'quarantined');
      const left = waiting
        .filter(({ boot, waits }) => boot === this.clock.bootId && waits?.flushed)
        .map((one) => Math.max(0, end(one) - this.clock.monotonic));
      const next = left.length === 0 ? undefined : Math.min(...left);
      return ['slots_exhausted', this.free.length, this.held.length - waiting.length, waiting.length, next];
    }
    const named = wanted.filter((owner) => owner !== undefined);
    if (new Set(named).size < named.length || named.some((owner) => this.owned(owner))) return 'sandbox_exists';
    const taken = this.free.splice(0, wanted.length).map(({ slot, generation }, index) => ({
      slot,
      generation: generation + 1,
      state: 'creating',
      owner: wanted[index],
      boot: this.clock.bootId,
      since: this.clock.wall,
      waits: undefined,
    }));
    this.held.push(...taken);
    return taken.map(({ slot, generation }) => [slot, generation]);
  }

  advance(key: LeaseKey, to: string): unknown {
    const from = to === 'removing' ? ['creating', 'warm', 'ready'] : ['creating'];
    const lease = this.find(key, ...from);
    if (lease === undefined) return 'lease_state';
    if (to !== 'removing' && (lease.owner !== undefined) !== (to === 'ready')) return 'lease_state';
    return this.enter(lease, to);
  }

  assign(key: LeaseKey, owner: SandboxId): unknown {
    if (this.owned(owner)) return 'sandbox_exists';
    const lease = this.find(key, 'warm');
    if (lease === undefined) return 'lease_state';
    lease.owner = owner;
    return this.enter(lease, 'creating');
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

  release(limit: number): unknown {
    const due = this.held
      .filter((one) => one.state === 'quarantined' && one.boot === this.clock.bootId)
      .filter(({ waits }) => waits?.flushed && this.clock.monotonic - waits.entered >= waits.floor)
      .toSorted((one, other) => end(one) - end(other) || one.slot - other.slot)
      .slice(0, limit);
    this.held = this.held.filter((one) => !due.includes(one));
    this.free.push(...due.map(({ slot, generation }) => ({ slot, generation })));
    return due.map(({ slot, generation }) => [slot, generation]);
  }

  start(): unknown {
    const lost = this.held.filter(({ boot }) => boot !== this.clock.bootId);
    for (const lease of lost) {
      lease.boot = this.clock.bootId;
      lease.waits = { entered: this.clock.monotonic, floor: 1000, flushed: true };
      this.enter(lease, 'quarantined');
    }
    return lost.map(({ slot, generation }) => [slot, generation]).toSorted(([one = 0], [other = 0]) => one - other);
  }

  enter(lease: Held, state: string): undefined {
    lease.state = state;
    lease.since = this.clock.wall;
  }

  /** What is held, by slot, as the fields of a Lease. */
  list(): unknown[] {
    return this.held
      .toSorted((one, other) => one.slot - other.slot)
      .map(({ slot, generation, state, owner, boot, since, waits }) => {
        const quarantine = waits && { due: waits.entered + waits.floor, flushed: waits.flushed };
        return { slot, generation, state, owner, boot, since, quarantine };
      });
  }
}
