import { CulvertError } from '../errors.ts';
import { claim, type SlotRange } from '../ipam/allocator.ts';
import { releaseEarly } from '../ipam/early-release.ts';
import { type Lease, type SandboxId, type Slot, TOPOLOGIES, type Topology } from '../ipam/lease.ts';
import type { Store } from '../ipam/store.ts';
import { advance, assignAll, listLeases, updateSpecification } from '../ipam/transition.ts';
import type { Kernel } from '../linux/apply.ts';
import { isNamespace } from '../linux/namespace.ts';
import { diff } from '../plan/diff.ts';
import { ROUTER } from '../plan/state.ts';
import { changedBy } from './change.ts';
import type { Crew } from './crew/crew.ts';
import type { Gate } from './gate.ts';
import { assertGroup, type GroupName } from './group.ts';
import type { OwnMember } from './groups.ts';
import { type Holding, holdingOf, isOwned, memberOf, networkOf, type Owned, passOf, sandboxOf } from './holding.ts';
import { leaseView } from './lease-view.ts';
import { assertSame, assignmentOf, fits, newSandboxId, type Order, requestOf } from './order.ts';
import type { Pass } from './pass.ts';
import { Pool } from './pool.ts';
import type { Reaper } from './reaper.ts';
import { Refill } from './refill.ts';
import type { CreateRequest, LeaseView, Removal, SandboxChange } from './request.ts';
import type { Sandbox } from './sandbox.ts';
import { differences, specificationText } from './specification.ts';
import { desired } from './topology/desired.ts';
import { cable, type Layout, sandboxNamespace } from './topology/layout.ts';
import { assertVia, Vias } from './via.ts';

type Emit = (type: string, holding: Holding, message: string) => void;

export type ManagerParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly crew: Crew;
  readonly gate: Gate;
  readonly reaper: Reaper;
  readonly layout: Layout;
  readonly slots: SlotRange;
  readonly poolSizes: Readonly<Record<Topology, number>>;
  readonly emit: Emit;
  /** Hears who comes into a group, and who leaves one. */
  readonly tell: (members: readonly OwnMember[]) => void;
  /** Ends the flows that the sandboxes have opened and may not have any more; if need be, later. */
  readonly cutDenied: (passes: readonly Pass[]) => void;
};

/** A lease that has got an owner, and where its network was warm, what it was until then. */
type Leased = { readonly holding: Owned; readonly warm: Holding | undefined };

/**
 * Creates, changes and removes sandboxes: the lease first, then the kernel, then the lease again. Everything it knows
 * stands in leases and kernel too; what it holds in memory is a copy that saves reading.
 */
export class Manager {
  readonly #parts: ManagerParts;
  readonly #live = new Map<SandboxId, Owned>();
  readonly #counts: Record<Topology, number> = { microvm: 0, netns: 0, bridge: 0 };
  readonly #pool: Pool;
  readonly #refill: Refill;
  readonly #vias = new Vias();
  readonly #unwritten: Holding[] = [];
  /** Removed, and not cut off yet: nobody gets such a slot. */
  readonly #uncut: Owned[] = [];
  #changes = 0;

  constructor(parts: ManagerParts) {
    this.#parts = parts;
    this.#pool = new Pool(parts.poolSizes);
    this.#refill = new Refill({ ...parts, pool: this.#pool, abandon: (holdings) => this.#abandon(holdings) });
  }

  /** Takes over a lease that an earlier run left, in state `ready` or `warm`. */
  adopt(holding: Holding): void {
    if (isOwned(holding)) this.#enter(holding);
    else this.#pool.add(holding);
  }

  /** All or none. An id that exists with the same specification is returned as it is. */
  create(requests: readonly CreateRequest[]): Sandbox[] {
    const orders = requests.map(({ id, specification }) => ({ id: id ?? newSandboxId(), specification }));
    for (const { specification } of orders) {
      assertGroup(specification.topology, specification.group);
      assertVia(specification);
    }
    for (const order of orders) assertSame(order, this.#live.get(order.id)?.owner.specification);
    const missing = orders.filter(({ id }) => !this.#live.has(id));
    if (missing.length > 0) this.#provide(this.#numbered(missing));
    return orders.map(({ id }) => this.inspect(id));
  }

  #numbered(orders: readonly Order[]): Order[] {
    const assigned = this.#vias.assign(orders.map(({ specification }) => specification));
    return orders.map(({ id, specification }, index) => ({ id, specification: assigned[index] ?? specification }));
  }

  update(id: SandboxId, change: SandboxChange): Sandbox {
    const { store, gate, kernel, layout, emit, tell, cutDenied } = this.#parts;
    const former = this.#find(id);
    const specification = changedBy(former.owner.specification, change);
    this.#vias.assertMayMove(former.owner.specification, specification);
    const changed: Owned = { ...former, owner: { id, specification } };
    // The lease first: after a crash in between, adoption brings the kernel to what the lease says.
    updateSpecification(store, former.key, specificationText(specification));
    this.#replace(former, changed);
    const pass = passOf(changed);
    try {
      kernel.apply(diff(desired(networkOf(former), layout), desired(networkOf(changed), layout)));
      gate.change(pass);
    } catch (error) {
      this.#changeBack(changed, former);
      throw error;
    }
    const { group } = former.owner.specification;
    if (specification.group !== group) {
      // those who stay have opened flows to it, and may have no right to them any more
      cutDenied([pass, ...this.#passesOf(group)]);
      tell([memberOf(changed, layout)]);
    } else if (change.policy !== undefined) cutDenied([pass]);
    const different = differences(specification, former.owner.specification);
    emit('sandbox.changed', changed, `Sandbox ${id} has ${different.join(', ') || 'what it had'}`);
    return this.inspect(id);
  }

  #passesOf(group: GroupName | undefined): Pass[] {
    if (group === undefined) return [];
    return [...this.#live.values()].map(passOf).filter((pass) => pass.group === group);
  }

  /** For a change that failed half-way: what is said of a sandbox must be what it has. */
  #changeBack(changed: Owned, former: Owned): void {
    const { store, kernel, layout, emit } = this.#parts;
    const { id, specification } = former.owner;
    updateSpecification(store, former.key, specificationText(specification));
    this.#replace(changed, former);
    try {
      kernel.apply(diff(desired(networkOf(changed), layout), desired(networkOf(former), layout)));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      emit('daemon.problem', former, `Cannot put the rates of sandbox ${id} back, run culvert reconcile: ${reason}`);
    }
  }

  /** Cuts off at once; the reaper clears up after. */
  remove(ids: readonly SandboxId[]): Removal[] {
    const { store, gate } = this.#parts;
    const going = [...new Set(ids)].map((id) => this.#find(id));
    store.transaction('normal', () => {
      for (const { key } of going) advance(store, key, 'removing');
    });
    this.#changes++;
    for (const holding of going) this.#leave(holding);
    try {
      gate.detach(going.map(({ key }) => key.slot));
    } catch (error) {
      this.#uncut.push(...going);
      throw error;
    }
    this.#sayRemoved(going);
    return going.map(({ key, owner }) => ({ id: owner.id, ...key }));
  }

  list(): Sandbox[] {
    return [...this.#live.values()].map((owned) => this.#view(owned));
  }

  /** @throws CulvertError `sandbox_unknown` */
  inspect(id: SandboxId): Sandbox {
    return this.#view(this.#find(id));
  }

  /** Every sandbox and warm network, for those who compare them with the kernel. */
  get live(): ReadonlyMap<SandboxId, Owned> {
    return this.#live;
  }

  counts(): { readonly live: Record<Topology, number>; readonly warm: Record<Topology, number> } {
    const warm = { microvm: 0, netns: 0, bridge: 0 };
    for (const topology of TOPOLOGIES) warm[topology] = this.#pool.size(topology);
    return { live: { ...this.#counts }, warm };
  }

  leases(): LeaseView[] {
    const { store } = this.#parts;
    const nowMs = store.clock.monotonicMs();
    return listLeases(store).map((lease) => leaseView(lease, nowMs));
  }

  /** @throws CulvertError `lease_state` */
  release(slot: Slot, { force }: { readonly force: boolean }): LeaseView {
    const { store } = this.#parts;
    const lease = releaseEarly(store, slot, { force });
    return leaseView(lease, store.clock.monotonicMs());
  }

  /** Gives up the warm pool and keeps none from now on. */
  drain(): void {
    this.#refill.drain();
  }

  /** Gives up a warm network that must not be handed out. */
  discard(slot: Slot): void {
    const holding = this.#pool.remove(slot);
    if (holding !== undefined) this.#abandon([holding]);
  }

  /** Gives up what is being built for the pool: it is to be otherwise. */
  buildAnew(): void {
    this.#refill.stop();
  }

  /** Leases whose networks are still to be built for the pool. */
  get building(): number {
    return this.#refill.claimed;
  }

  /** Leases that were given up while the store could not be written. */
  get unwritten(): number {
    return this.#unwritten.length;
  }

  /** Whether the lease of the slot is one of these, whatever the store says. */
  hasGivenUp(slot: Slot): boolean {
    return this.#unwritten.some(({ key }) => key.slot === slot);
  }

  /** Sandboxes that are removed while the kernel refused to cut them off. */
  get uncut(): number {
    return this.#uncut.length;
  }

  /** Grows whenever leases have changed for those who asked: where it stands still, so does everything. */
  get changes(): number {
    return this.#changes;
  }

  /** Does again what the store or the kernel refused. */
  tryAgain(): void {
    const holdings = this.#unwritten.splice(0);
    if (holdings.length > 0) this.#abandon(holdings);
    if (this.#uncut.length === 0) return;
    // what could not be taken out one by one goes with all that belongs to nobody
    this.#parts.gate.restore([...this.#live.values()].map(passOf));
    this.#sayRemoved(this.#uncut.splice(0));
  }

  /** Of what is cut off: it may be cleared up. */
  #sayRemoved(cut: readonly Owned[]): void {
    this.#release(cut);
    for (const holding of cut) {
      // nobody has heard of one whose creation failed
      if (holding.state === 'creating') continue;
      this.#parts.emit(
        'sandbox.removed',
        holding,
        `Sandbox ${holding.owner.id} is cut off from slot ${holding.key.slot}`,
      );
    }
  }

  /** Brings the pool a little nearer to its size, and says whether there is more to do that can be done now. */
  fillPool(): boolean {
    return this.#refill.step(this.#parts.store.clock.monotonicMs());
  }

  #enter(owned: Owned): void {
    this.#live.set(owned.owner.id, owned);
    this.#counts[owned.topology]++;
    this.#vias.enter(owned.owner.specification);
    if (owned.owner.specification.group !== undefined) this.#parts.tell([memberOf(owned, this.#parts.layout)]);
  }

  /** The same sandbox with another specification. */
  #replace(former: Owned, next: Owned): void {
    this.#vias.leave(former.owner.specification);
    this.#vias.enter(next.owner.specification);
    this.#live.set(next.owner.id, next);
  }

  #leave(owned: Owned): void {
    const { owner, topology } = owned;
    if (!this.#live.delete(owner.id)) return;
    this.#counts[topology]--;
    this.#vias.leave(owner.specification);
    if (owner.specification.group !== undefined) this.#parts.tell([memberOf(owned, this.#parts.layout, true)]);
  }

  /** Leases, builds and lets pass what does not exist yet. */
  #provide(orders: readonly Order[]): void {
    const { store, crew, gate, emit } = this.#parts;
    const leased = this.#lease(orders);
    const holdings = leased.map(({ holding }) => holding);
    const cold = leased.flatMap(({ holding, warm }) => (warm === undefined ? [holding] : []));
    this.#changes++;
    try {
      crew.build(cold.map(networkOf));
      for (const { holding, warm } of leased) {
        if (warm !== undefined && !fits(holding.owner)) this.#shape(holding, warm);
      }
      gate.attach(holdings.map(passOf));
      const unready = leased.filter(({ holding, warm }) => warm === undefined || !fits(holding.owner));
      if (unready.length > 0) {
        store.transaction('normal', () => {
          for (const { holding } of unready) advance(store, holding.key, 'ready');
        });
      }
    } catch (error) {
      this.#abandon(holdings);
      throw error;
    }
    for (const holding of holdings) {
      const ready: Owned = { ...holding, state: 'ready' };
      this.#enter(ready);
      emit('sandbox.created', ready, `Sandbox ${holding.owner.id} has slot ${holding.key.slot}`);
    }
  }

  /** One commit for all: from the pool where it has them, else a slot that is free. */
  #lease(orders: readonly Order[]): Leased[] {
    const { store, slots } = this.#parts;
    const matched = orders.map((order) => ({ order, warm: this.#takeWarm(order.specification.topology) }));
    try {
      const durability = matched.every(({ warm }) => warm !== undefined) ? 'normal' : 'full';
      return store.transaction(durability, () => {
        const assignments = matched.flatMap(({ order, warm }) =>
          warm === undefined ? [] : [assignmentOf(warm, order)],
        );
        if (assignments.length > 0) assignAll(store, assignments);
        const cold = matched.filter(({ warm }) => warm === undefined).map(({ order }) => requestOf(order));
        const claimed = cold.length === 0 ? [] : claim(store, cold, slots);
        let next = 0;
        return matched.map(({ order, warm }): Leased => {
          const holding = warm ?? holdingOf(claimed[next++] as Lease);
          return { holding: { ...holding, state: 'creating', owner: order }, warm };
        });
      });
    } catch (error) {
      for (const { warm } of matched.toReversed()) if (warm !== undefined) this.#pool.giveBack(warm);
      throw error;
    }
  }

  /** One that is there still: somebody may have taken away its namespace, or its link. */
  #takeWarm(topology: Topology): Holding | undefined {
    const { kernel } = this.#parts;
    for (let warm = this.#pool.take(topology); warm !== undefined; warm = this.#pool.take(topology)) {
      const { slot } = warm.key;
      const isThere =
        isNamespace(kernel.pin(sandboxNamespace(slot))) && kernel.presentLinks(ROUTER, [cable(slot)]).size > 0;
      if (isThere) return warm;
      this.#abandon([warm]);
    }
    return undefined;
  }

  /** Puts the limits that its owner asks for on a network that was built without. */
  #shape(holding: Owned, warm: Holding): void {
    const { kernel, layout } = this.#parts;
    kernel.apply(diff(desired(networkOf(warm), layout), desired(networkOf(holding), layout)));
  }

  /** What was begun and will not be finished: it is cut off, and its leases go the way of every other. */
  #abandon(holdings: readonly Holding[]): void {
    const { store, gate } = this.#parts;
    let isCut = true;
    try {
      gate.detach(holdings.map(({ key }) => key.slot));
    } catch {
      // it is tried again; {@link uncut} shows it
      isCut = false;
    }
    try {
      store.transaction('normal', () => {
        for (const { key } of holdings) advance(store, key, 'removing');
      });
    } catch {
      // The leases stay held meanwhile, so nothing is given away twice; {@link unwritten} shows it.
      this.#unwritten.push(...holdings);
      return;
    }
    // only what has an owner stands in the tables
    if (!isCut) this.#uncut.push(...holdings.filter(isOwned));
    this.#release(holdings.filter((holding) => isCut || !isOwned(holding)));
  }

  #release(holdings: readonly Holding[]): void {
    for (const holding of holdings) this.#parts.reaper.add({ ...holding, state: 'removing' });
  }

  #find(id: SandboxId): Owned {
    const owned = this.#live.get(id);
    if (owned === undefined) throw new CulvertError('sandbox_unknown', `Cannot find sandbox ${id}`);
    return owned;
  }

  #view(owned: Owned): Sandbox {
    const { layout, kernel } = this.#parts;
    return sandboxOf(owned, layout, (namespace) => kernel.pin(namespace));
  }
}
