import { addIpv4 } from '../../src/addr/ipv4.ts';
import type { Wish } from '../../src/cluster/epoch.ts';
import type {
  CreateRequest,
  CulvertEvent,
  Engine,
  HostView,
  LeaseView,
  MemberSource,
  MeshSource,
  MeshView,
  Removal,
  SandboxChange,
  Status,
} from '../../src/daemon/engine.ts';
import { Listeners } from '../../src/daemon/listeners.ts';
import { ProbeSockets } from '../../src/daemon/probes/sockets.ts';
import { CulvertError, InputError } from '../../src/errors.ts';
import { type Generation, parseSandboxId, parseSlot, type SandboxId, type Slot } from '../../src/ipam/lease.ts';
import { changedBy } from '../../src/sandbox/change.ts';
import type { Sandbox, Specification } from '../../src/sandbox/sandbox.ts';
import {
  bridgeGateway,
  bridgeMac,
  DEFAULT_LAYOUT,
  hostAddress,
  type Layout,
  resolverAddress,
  routerAddress,
  SANDBOX_MAC,
} from '../../src/sandbox/topology/layout.ts';

const LAYOUT: Layout = { ...DEFAULT_LAYOUT, mtu: 1420 };

type Options = {
  /** How many slots there are. */
  readonly slots?: number;
  readonly floorMs?: number;
  /** Where the pins would be. */
  readonly netns?: (slot: Slot) => string;
};

/** The engine port, kept in memory and nowhere else: the whole contract, and no kernel. */
export class MemoryEngine implements Engine, MemberSource, MeshSource {
  readonly probes = new ProbeSockets();
  /** What every call fails with, while there is one. */
  trouble: Error | undefined;
  readonly #slots: number;
  readonly #floorMs: number;
  readonly #netns: (slot: Slot) => string;
  readonly #sandboxes = new Map<SandboxId, Sandbox>();
  readonly #quarantine = new Map<Slot, LeaseView & { readonly dueMs: number }>();
  readonly #generations = new Map<Slot, number>();
  readonly #listeners = new Listeners();
  readonly #startedWallMs = Date.now();
  #drainingSinceWallMs: number | undefined;
  #made = 0;
  #drift: string[] = [];

  constructor({ slots = 32_767, floorMs = 0, netns = (slot) => `/run/culvert/netns/s${slot}` }: Options = {}) {
    this.#slots = slots;
    this.#floorMs = floorMs;
    this.#netns = netns;
  }

  async create(requests: readonly CreateRequest[]): Promise<Sandbox[]> {
    this.#check();
    const free = this.#freeSlots();
    const known = requests.map(({ id, specification }) =>
      id === undefined ? undefined : this.#same(id, specification),
    );
    if (this.#drainingSinceWallMs !== undefined && known.includes(undefined)) {
      throw new CulvertError('draining', 'Cannot create sandboxes on host main: it is draining');
    }
    const missing = known.filter((sandbox) => sandbox === undefined).length;
    if (missing > free.length) {
      const counts = `${free.length} free, ${this.#sandboxes.size} live, ${this.#quarantine.size} quarantined`;
      throw new CulvertError('slots_exhausted', `Cannot claim ${missing} slots of 1 to ${this.#slots}: ${counts}`);
    }
    return requests.map(({ id, specification }, index) => {
      const found = known[index];
      if (found !== undefined) return found;
      const slot = free.shift();
      if (slot === undefined) throw new Error('Counted wrong');
      return this.#make(id ?? this.#newId(), slot, specification);
    });
  }

  async update(id: SandboxId, change: SandboxChange): Promise<Sandbox> {
    this.#check();
    const former = this.#find(id);
    const sandbox = { ...former, ...changedBy(former, change) };
    this.#sandboxes.set(id, sandbox);
    this.#tell('sandbox.changed', sandbox, `Changed sandbox ${id}`);
    return sandbox;
  }

  async remove(ids: readonly SandboxId[]): Promise<Removal[]> {
    this.#check();
    const sandboxes = ids.map((id) => this.#find(id));
    return sandboxes.map((sandbox) => {
      const { id, generation, slot, topology } = sandbox;
      this.#sandboxes.delete(id);
      this.#quarantine.set(slot, {
        slot,
        generation,
        state: 'quarantined',
        sandboxId: id,
        topology,
        sinceWallMs: Date.now(),
        dueMs: performance.now() + this.#floorMs,
      });
      this.#tell('sandbox.removed', sandbox, `Removed sandbox ${id}`);
      return { id, generation, slot };
    });
  }

  async list(): Promise<Sandbox[]> {
    this.#check();
    return [...this.#sandboxes.values()].toSorted((a, b) => a.slot - b.slot);
  }

  async inspect(id: SandboxId): Promise<Sandbox> {
    this.#check();
    return this.#find(id);
  }

  async leases(): Promise<LeaseView[]> {
    this.#check();
    this.#freeSlots();
    const owned = [...this.#sandboxes.values()].map(
      ({ id, slot, generation, state, topology }): LeaseView => ({ slot, generation, state, topology, sandboxId: id }),
    );
    return [...owned, ...[...this.#quarantine.values()].map(waiting)].toSorted((a, b) => a.slot - b.slot);
  }

  async release(slot: Slot, { force }: { readonly force: boolean }): Promise<LeaseView> {
    this.#check();
    const lease = this.#quarantine.get(slot);
    if (lease === undefined) {
      throw new InputError('lease_state', `Cannot release slot ${slot}: it is not in quarantine`);
    }
    if (!force && performance.now() < lease.dueMs) {
      throw new InputError('lease_state', `Cannot release slot ${slot}: its time is not over; force it`);
    }
    this.#quarantine.delete(slot);
    return { slot, generation: lease.generation, state: 'free' };
  }

  async reconcile({ dryRun }: { readonly dryRun: boolean }): Promise<{ plan: string[]; applied: boolean }> {
    this.#check();
    const plan = this.#drift;
    if (!dryRun) this.#drift = [];
    return { plan, applied: !dryRun };
  }

  /** The mesh, where there is one. */
  meshView: MeshView | undefined;

  /** What the cluster has, where there is one. */
  cluster: HostView[] | undefined;

  async hosts(): Promise<HostView[]> {
    this.#check();
    if (this.cluster === undefined) throw new InputError('no_cluster', 'Cannot tell of hosts: there is no cluster');
    return this.cluster;
  }

  async removeHost(name: string): Promise<void> {
    const host = (await this.hosts()).find((one) => one.name === name);
    if (host === undefined) throw new InputError('host_unknown', `Cannot remove host ${name}: there is none`);
    if (host.isAlive) throw new CulvertError('host_alive', `Cannot remove host ${name}: it is there`);
    this.cluster = this.cluster?.filter((one) => one !== host);
  }

  async updatePeers(): Promise<void> {
    this.#check();
  }

  async mesh(): ReturnType<Engine['mesh']> {
    this.#check();
    if (this.meshView === undefined) throw new InputError('no_cluster', 'Cannot tell of the mesh: there is no cluster');
    return this.meshView;
  }

  async changeMesh({ rotates = false, ...wish }: Wish): ReturnType<Engine['changeMesh']> {
    const { epoch, ...view } = await this.mesh();
    const number = epoch.number + 1;
    const next = { ...epoch, ...wish, number, phase: 'accept', rotation: epoch.rotation + Number(rotates) } as const;
    this.meshView = { ...view, epoch: next };
    return next;
  }

  async steer(): ReturnType<MeshSource['steer']> {
    this.#check();
    return { isSteered: true, isSized: true };
  }

  async courses(): ReturnType<MeshSource['courses']> {
    return [];
  }

  async traffic(): ReturnType<MeshSource['traffic']> {
    return [];
  }

  watchMembers(): void {
    // nobody here is in a group
  }

  async updateMembers(): Promise<void> {
    this.#check();
  }

  async status(): Promise<Status> {
    this.#check();
    const live = { microvm: 0, netns: 0, bridge: 0 };
    for (const { topology } of this.#sandboxes.values()) live[topology] += 1;
    return {
      name: 'main',
      version: '0.0.0-memory',
      pid: process.pid,
      startedWallMs: this.#startedWallMs,
      live,
      warm: { microvm: 0, netns: 0, bridge: 0 },
      freeSlots: this.#freeSlots().length,
      quarantined: this.#quarantine.size,
      removing: 0,
      adopting: false,
      mtu: LAYOUT.mtu,
      flows: { root: 0, router: 0, most: 65_536 },
      ...(this.#drainingSinceWallMs === undefined ? {} : { drainingSinceWallMs: this.#drainingSinceWallMs }),
      problems: [],
    };
  }

  async setDraining(isDraining: boolean): Promise<void> {
    this.#check();
    this.#drainingSinceWallMs = isDraining ? (this.#drainingSinceWallMs ?? Date.now()) : undefined;
  }

  async purge(): Promise<void> {
    this.#check();
    await this.remove([...this.#sandboxes.keys()]);
    this.#quarantine.clear();
  }

  subscribe(listener: (event: CulvertEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    this.trouble = new CulvertError('engine_stopped', 'Cannot take a request: the engine is closed');
  }

  /** Makes the kernel, as it were, differ from what it should be. */
  drift(plan: string[]): void {
    this.#drift = plan;
  }

  tell(type: string, message: string): void {
    this.#listeners.publish({ type, message });
  }

  #check(): void {
    if (this.trouble !== undefined) throw this.trouble;
  }

  #find(id: SandboxId): Sandbox {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) throw new InputError('sandbox_unknown', `Cannot find sandbox ${id}`);
    return sandbox;
  }

  #same(id: SandboxId, { topology, rates, policy, group }: Specification): Sandbox | undefined {
    const found = this.#sandboxes.get(id);
    if (found === undefined) return undefined;
    for (const [key, value] of Object.entries({ topology, rates, policy, group })) {
      if (JSON.stringify(value) === JSON.stringify(found[key as keyof Specification])) continue;
      throw new InputError('sandbox_exists', `Cannot create sandbox ${id}: it exists with another ${key}`);
    }
    return found;
  }

  #make(id: SandboxId, slot: Slot, specification: Specification): Sandbox {
    const { topology } = specification;
    const generation = ((this.#generations.get(slot) ?? 0) + 1) as Generation;
    this.#generations.set(slot, generation);
    const onBridge = addIpv4(LAYOUT.bridgeRange.address, 1 + (slot % 250));
    const address = topology === 'bridge' ? onBridge : hostAddress(LAYOUT, slot);
    const sandbox: Sandbox = {
      ...specification,
      id,
      slot,
      generation,
      state: 'ready',
      netns: this.#netns(slot),
      hostAddress: address,
      guestAddress: topology === 'microvm' ? LAYOUT.guest.address : address,
      gateway: {
        microvm: LAYOUT.tap.address,
        netns: routerAddress(LAYOUT, slot),
        bridge: bridgeGateway(LAYOUT),
      }[topology],
      dns: resolverAddress(LAYOUT),
      mac: { microvm: LAYOUT.guest.mac, netns: SANDBOX_MAC, bridge: bridgeMac(address) }[topology],
      ...(topology === 'microvm' ? { tap: 'tap0' } : {}),
      mtu: LAYOUT.mtu,
    };
    this.#sandboxes.set(id, sandbox);
    this.#tell('sandbox.created', sandbox, `Created sandbox ${id}`);
    return sandbox;
  }

  #tell(type: string, { id, slot, generation }: Sandbox, message: string): void {
    this.#listeners.publish({ type, sandboxId: id, slot, generation, message });
  }

  #newId(): SandboxId {
    this.#made += 1;
    return parseSandboxId(`sb-${this.#made.toString(32).padStart(10, '0')}`);
  }

  /** Lets go what has been in quarantine long enough, too. */
  #freeSlots(): Slot[] {
    for (const [slot, { dueMs }] of this.#quarantine) if (performance.now() >= dueMs) this.#quarantine.delete(slot);
    const held = new Set([...this.#quarantine.keys(), ...[...this.#sandboxes.values()].map(({ slot }) => slot)]);
    return Array.from({ length: this.#slots }, (_, index) => parseSlot(index + 1)).filter((slot) => !held.has(slot));
  }
}

function waiting({ dueMs, ...lease }: LeaseView & { readonly dueMs: number }): LeaseView {
  const dueInMs = Math.max(0, Math.ceil(dueMs - performance.now()));
  return { ...lease, quarantine: { reason: 'removed', dueInMs, flushVerified: true } };
}
