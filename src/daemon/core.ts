import { join } from 'node:path';
import type { SandboxId, Slot, Topology } from '../ipam/lease.ts';
import { countQuarantined } from '../ipam/lookup.ts';
import { releasePins } from '../linux/folder.ts';
import type { HostMesh, MeshOrders } from '../mesh/host-mesh.ts';
import type { PeerChange } from '../mesh/peers.ts';
import { ROUTER } from '../plan/state.ts';
import type { Problem } from '../sandbox/event.ts';
import type { MemberNews } from '../sandbox/groups.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { type Assembled, assemble } from './assembly.ts';
import type { CoreOptions } from './core-options.ts';
import type { CreateRequest, LeaseView, Removal, SandboxChange, Status, Steered } from './engine.ts';
import type { OpenedNames } from './names/opened.ts';
import type { OpenedProbes } from './probes/opened.ts';
import { ProblemNews } from './problem-news.ts';
import { reconcile } from './reconcile.ts';
import { undone } from './undone.ts';

/**
 * The engine as one thread runs it, synchronously: it owns the leases and the kernel, and nobody writes either but by
 * its order. Made on the thread that is to use it: its sockets belong to the namespaces that thread enters.
 */
export class Core implements Disposable {
  readonly #options: CoreOptions;
  readonly #parts: Assembled;
  readonly #startedWallMs = Date.now();
  readonly #news: ProblemNews;

  /** @throws CulvertError `store_*`, `apply_failed`: then nothing that runs was touched */
  constructor(options: CoreOptions) {
    this.#options = options;
    this.#parts = assemble(options);
    this.#news = new ProblemNews(() => this.status().problems, options.emit);
  }

  /** The sockets that names are asked at, until the main thread takes them. */
  get names(): OpenedNames {
    return this.#parts.names;
  }

  /** Those by which hosts ask each other, likewise; absent on a host that is in no cluster. */
  get probes(): OpenedProbes | undefined {
    return this.#parts.probes;
  }

  /** Starts the thread that helps; the work is the same without. */
  hire(): void {
    this.#parts.crew.hire();
  }

  /** See `Manager.changes`. */
  get changes(): number {
    return this.#parts.manager.changes;
  }

  create(requests: readonly CreateRequest[]): Sandbox[] {
    const { manager, verification, draining } = this.#parts;
    // one that exists is returned as it is, and it is to pass
    if (requests.some(({ id }) => id !== undefined && manager.live.has(id))) verification.finishRules();
    if (requests.some(({ id }) => id === undefined || !manager.live.has(id))) {
      draining.assertTakes(this.#options.host.instance);
    }
    return manager.create(requests);
  }

  update(id: SandboxId, change: SandboxChange): Sandbox {
    // what is taken out of a table must be in it
    this.#parts.verification.finishRules();
    return this.#parts.manager.update(id, change);
  }

  remove(ids: readonly SandboxId[]): Removal[] {
    this.#parts.verification.finishRules();
    return this.#parts.manager.remove(ids);
  }

  list(): Sandbox[] {
    return this.#parts.manager.list();
  }

  inspect(id: SandboxId): Sandbox {
    return this.#parts.manager.inspect(id);
  }

  leases(): LeaseView[] {
    return this.#parts.manager.leases();
  }

  reconcile(options: { readonly dryRun: boolean }): { plan: string[]; applied: boolean } {
    return reconcile({ ...this.#parts, emit: this.#options.emit }, options);
  }

  /**
   * @throws CulvertError `lease_state` where the slot is not in quarantine, or its flush is not verified and `force`
   *   was not given
   */
  release(slot: Slot, options: { readonly force: boolean }): LeaseView {
    const view = this.#parts.manager.release(slot, options);
    this.#parts.bridge.expect();
    return view;
  }

  /** See {@link HostMesh.update}. */
  updatePeers(changes: readonly PeerChange[], isAll: boolean): void {
    this.#parts.mesh?.update(changes, isAll);
  }

  /** See {@link HostMesh.steer}, `Resizing.step`. */
  steer(orders: MeshOrders): Steered {
    const { mesh, resizing } = this.#parts;
    if (mesh?.steer(orders) === false) return { isSteered: false, isSized: false };
    return { isSteered: true, isSized: orders.mtu === undefined || resizing.step(orders.mtu) };
  }

  /** See {@link HostMesh.traffic}. */
  traffic(): ReturnType<HostMesh['traffic']> {
    return this.#parts.mesh?.traffic() ?? [];
  }

  /** See {@link HostMesh.courses}. */
  courses(): ReturnType<HostMesh['courses']> {
    return this.#parts.mesh?.courses() ?? [];
  }

  /** See `Gate.tellMembers`. */
  updateMembers(news: readonly MemberNews[]): void {
    const { verification, housekeeping, gate } = this.#parts;
    // those that it takes over stand in its books when it has looked at them
    verification.finishRules();
    housekeeping.oweFarFlows(gate.tellMembers(news));
  }

  /** @throws CulvertError `draining_file` */
  setDraining(isDraining: boolean): void {
    const { emit, host } = this.#options;
    const { draining } = this.#parts;
    if (isDraining && draining.begin()) {
      emit({ type: 'host.draining', message: `Host ${host.instance} takes no new sandboxes` });
    }
    if (!isDraining && draining.end()) {
      emit({ type: 'host.undrained', message: `Host ${host.instance} takes new sandboxes again` });
    }
  }

  /** Everything that is Culvert's on this host, and nothing else. The leases stay: their generations must. */
  purge(): void {
    const { manager, reaper, crew, kernel, root, mesh, draining } = this.#parts;
    this.remove(this.list().map(({ id }) => id));
    manager.drain();
    reaper.pause();
    // nobody builds any more in what goes now
    crew[Symbol.dispose]();
    for (const namespace of kernel.namespaces()) {
      if (namespace !== ROUTER) kernel.remove([{ verb: 'delete', object: { kind: 'namespace', namespace } }]);
    }
    root.remove();
    mesh?.remove();
    kernel.remove([{ verb: 'delete', object: { kind: 'namespace', namespace: ROUTER } }]);
    reaper.quarantineAll();
    draining.end();
    releasePins(join(this.#options.runDir, 'netns'));
  }

  status(): Status {
    const { host, version, slots } = this.#options;
    const { manager, reaper, draining, verification, resizing, tracking, store } = this.#parts;
    const { live, warm } = manager.counts();
    const quarantined = countQuarantined(store);
    const { unwritten, uncut, building } = manager;
    const removing = reaper.pending + reaper.refused + uncut;
    const { sinceWallMs } = draining;
    const held = total(live) + total(warm) + quarantined + removing + unwritten + building;
    return {
      name: host.instance,
      version,
      pid: process.pid,
      startedWallMs: this.#startedWallMs,
      live,
      warm,
      quarantined,
      removing,
      freeSlots: slots.last - slots.first + 1 - held,
      adopting: !verification.isDone && !resizing.isUnderWay,
      mtu: host.layout.mtu,
      flows: tracking.usage(this.#nowMs),
      ...(sinceWallMs === undefined ? {} : { drainingSinceWallMs: sinceWallMs }),
      problems: this.#problems(),
    };
  }

  /** See `Housekeeping.step`. */
  step(): number {
    const restMs = this.#parts.housekeeping.step();
    this.#news.step(this.#nowMs);
    return restMs;
  }

  [Symbol.dispose](): void {
    this.#parts.opened.dispose();
  }

  #problems(): Problem[] {
    const { found, root, tracking, housekeeping, verification, reports, bridge, gate, mesh, names } = this.#parts;
    const nowMs = this.#nowMs;
    return [
      ...undone(this.#parts),
      ...[...found].map(([code, message]) => ({ code, message })),
      ...root.problems(nowMs),
      ...tracking.problems(nowMs),
      ...housekeeping.problems(),
      ...verification.problems(),
      ...reports.problems(nowMs),
      ...bridge.problems(nowMs),
      ...gate.problems(),
      ...(mesh?.problems() ?? []),
      ...names.problems(),
    ];
  }

  get #nowMs(): number {
    return this.#parts.store.clock.monotonicMs();
  }
}

function total(counts: Readonly<Record<Topology, number>>): number {
  return counts.microvm + counts.netns + counts.bridge;
}
