import { join } from 'node:path';
import { systemClock } from '../clock.ts';
import type { SlotRange } from '../ipam/allocator.ts';
import { setBridgeRange } from '../ipam/bridge/range.ts';
import type { SandboxId, Slot, Topology } from '../ipam/lease.ts';
import { countQuarantined, listSettled } from '../ipam/lookup.ts';
import { onBoot } from '../ipam/quarantine.ts';
import { openStore, type Store } from '../ipam/store.ts';
import { listLeases } from '../ipam/transition.ts';
import { Kernel } from '../linux/apply.ts';
import type { ArpTiming } from '../linux/arp/timing.ts';
import { FolderLock, preparePins, releasePins } from '../linux/folder.ts';
import { NETLINK_NETFILTER } from '../linux/netlink/constants.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import { HostMesh, type MeshOptions, type MeshOrders } from '../mesh/host-mesh.ts';
import { directCable, PROBE_PORT } from '../mesh/link.ts';
import type { PeerChange } from '../mesh/peers.ts';
import type { Plan } from '../plan/diff.ts';
import { ROOT, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import { BridgeWatch } from '../sandbox/bridge-watch/watch.ts';
import { Crew, type CrewParts } from '../sandbox/crew/crew.ts';
import { inBrief } from '../sandbox/event.ts';
import { Gate } from '../sandbox/gate.ts';
import type { MemberNews, OwnMember } from '../sandbox/groups.ts';
import { type Holding, holdingOf, subjectOf } from '../sandbox/holding.ts';
import { HostAccess } from '../sandbox/host/access.ts';
import { type Host, ROUTER_REPORT_GROUP, rootReportGroup, UPLINK } from '../sandbox/host/objects.ts';
import { RootNamespace } from '../sandbox/host/root.ts';
import { Manager } from '../sandbox/manager.ts';
import type { Pass } from '../sandbox/pass.ts';
import { Reaper } from '../sandbox/reaper.ts';
import { Reports } from '../sandbox/reports/reports.ts';
import { bridgeRuleset } from '../sandbox/ruleset/bridge.ts';
import { rootTable } from '../sandbox/ruleset/names.ts';
import { routerRuleset } from '../sandbox/ruleset/router.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { Survey } from '../sandbox/survey.ts';
import { bridgeGateway, isSandboxNamespace, resolverAddress, sandboxNamespace } from '../sandbox/topology/layout.ts';
import { Tracking } from '../sandbox/tracking.ts';
import { Verification } from '../sandbox/verification.ts';
import { adopt } from './adopt.ts';
import { Draining } from './draining.ts';
import type { CreateRequest, CulvertEvent, LeaseView, Removal, SandboxChange, Status, Steered } from './engine.ts';
import { Housekeeping } from './housekeeping.ts';
import { OpenedNames } from './names/opened.ts';
import { OpenedProbes } from './probes/opened.ts';
import { ProblemNews } from './problem-news.ts';
import { reconcile } from './reconcile.ts';
import { Resizing } from './resizing.ts';
import { assertNotLost, assertNotOutdated, leasesIn, makeFolder } from './state-folder.ts';
import { undone } from './undone.ts';

export type CoreOptions = {
  readonly host: Host;
  readonly version: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly slots: SlotRange;
  readonly poolSizes: Readonly<Record<Topology, number>>;
  readonly quarantineFloor_ms: number;
  /** that a sandbox may have opened at a time */
  readonly maxFlows: number;
  /** absent for a host that is in no cluster */
  readonly mesh?: MeshOptions;
  /** of probes on the bridge; as RFC 5227 says where absent */
  readonly arpTiming?: ArpTiming;
  readonly stuck?: CrewParts['stuck'];
  readonly emit: (event: Omit<CulvertEvent, 'sequence' | 'wallMs'>) => void;
  /** Hears who of this host comes into a group, and who leaves one. */
  readonly tell: (members: readonly OwnMember[]) => void;
  /** Hears what of the work that nobody waits for could not be done; it is tried again. */
  readonly failed: (error: unknown) => void;
};

/** Those that can be sent to another thread. */
export type ThreadOptions = Omit<CoreOptions, 'emit' | 'tell' | 'failed' | 'stuck'>;

/**
 * The engine as one thread runs it, synchronously: it owns the leases and the kernel, and nobody writes either but by
 * its order. Made on the thread that is to use it: its sockets belong to the namespaces that thread enters.
 */
export class Core implements Disposable {
  readonly #options: CoreOptions;
  readonly #opened: DisposableStack;
  readonly #store: Store;
  readonly #draining: Draining;
  readonly #kernel: Kernel;
  readonly #crew: Crew;
  readonly #tracking: Tracking;
  readonly #root: RootNamespace;
  readonly #manager: Manager;
  readonly #reaper: Reaper;
  readonly #survey: Survey;
  readonly #gate: Gate;
  readonly #bridge: BridgeWatch;
  readonly #reports: Reports;
  readonly #mesh: HostMesh | undefined;
  /** The sockets that names are asked at, until the main thread takes them. */
  readonly names: OpenedNames;
  /** Those by which hosts ask each other, likewise; absent on a host that is in no cluster. */
  readonly probes: OpenedProbes | undefined;
  readonly #startedWallMs = Date.now();
  readonly #problems = new Map<string, string>();
  /** Of what was adopted. */
  readonly #verification: Verification;
  readonly #resizing: Resizing;
  readonly #housekeeping: Housekeeping;
  readonly #news: ProblemNews;

  /** @throws CulvertError `store_*`, `apply_failed`: then nothing that runs was touched */
  constructor(options: CoreOptions) {
    this.#options = options;
    const { host, stateDir, runDir, slots, poolSizes, emit, stuck } = options;
    makeFolder(stateDir);
    // what is opened is closed again where a later step fails
    using opened = new DisposableStack();
    opened.use(new FolderLock(stateDir));
    const leases = leasesIn(stateDir);
    const pins = join(runDir, 'netns');
    assertNotLost(leases, pins);
    this.#draining = new Draining(stateDir);
    this.#store = opened.use(openStore(leases, systemClock()));
    // A pin is made and removed under a lease that says so; one that is bare otherwise shows when it is looked into.
    preparePins(pins, new Set(listSettled(this.#store).map(sandboxNamespace)));
    this.#kernel = opened.use(new Kernel(pins, [ROOT, ROUTER]));
    assertNotOutdated(leases, pins, this.#unleased());
    this.#crew = opened.use(new Crew({ kernel: this.#kernel, layout: host.layout, stuck }));
    this.#survey = new Survey(this.#kernel, host);
    const rootNetfilter = opened.use(new NetlinkSocket(NETLINK_NETFILTER));
    this.#root = new RootNamespace({
      host,
      kernel: this.#kernel,
      survey: this.#survey,
      netfilter: rootNetfilter,
      reportGroup: rootReportGroup(host.instance),
      formerSettings: join(stateDir, 'former-settings.json'),
      bootId: this.#store.clock.bootId,
      ...(options.mesh === undefined ? {} : { direct: directCable(host.instance).name }),
    });
    this.#root.setUp();
    this.#openLegacy();
    const { mesh } = options;
    const meshParts = { kernel: this.#kernel, instance: host.instance, mtu: host.layout.mtu };
    this.#mesh = mesh === undefined ? undefined : opened.use(new HostMesh(mesh, meshParts));
    const netfilter = opened.use(this.#kernel.inside(ROUTER, () => new NetlinkSocket(NETLINK_NETFILTER)));
    this.probes = mesh && opened.use(new OpenedProbes(this.#kernel, host.instance, mesh));
    this.names = opened.use(new OpenedNames(this.#kernel, resolverAddress(host.layout)));
    this.#gate = new Gate(
      netfilter,
      host.layout,
      [
        routerRuleset({
          uplink: UPLINK.name,
          reportGroup: ROUTER_REPORT_GROUP,
          maxFlows: options.maxFlows,
          probePort: PROBE_PORT,
          resolver: resolverAddress(host.layout),
          ...(mesh === undefined ? {} : { cluster: mesh.range }),
        }),
        bridgeRuleset({ gateway: bridgeGateway(host.layout), reportGroup: ROUTER_REPORT_GROUP }),
      ],
      new HostAccess(rootNetfilter, rootTable(host.instance)),
    );
    this.#tracking = new Tracking({
      router: netfilter,
      root: rootNetfilter,
      kernel: this.#kernel,
      layout: host.layout,
      gate: this.#gate,
      ...(mesh === undefined ? {} : { cluster: mesh.range }),
    });
    const parts = { store: this.#store, kernel: this.#kernel, layout: host.layout, emit };
    this.#reaper = new Reaper({
      ...parts,
      crew: this.#crew,
      floor_ms: options.quarantineFloor_ms,
      flush: (addresses) => this.#tracking.flush(addresses),
    });
    this.#manager = new Manager({
      ...parts,
      crew: this.#crew,
      gate: this.#gate,
      reaper: this.#reaper,
      slots,
      poolSizes,
      cutDenied: (passes) => this.#cutDenied(passes),
      emit: (type, holding, message) => this.#tell(type, holding, message),
      tell: options.tell,
    });
    this.#reports = opened.use(
      new Reports({ ...parts, groups: { router: ROUTER_REPORT_GROUP, root: rootReportGroup(host.instance) } }),
    );
    this.#bridge = opened.use(
      new BridgeWatch({
        ...parts,
        ...(options.arpTiming === undefined ? {} : { timing: options.arpTiming }),
        discard: (slot) => this.#manager.discard(slot),
      }),
    );
    this.#verification = this.#adopt();
    this.#resizing = new Resizing({
      layout: host.layout,
      kernel: this.#kernel,
      survey: this.#survey,
      crew: this.#crew,
      manager: this.#manager,
      verification: this.#verification,
      holdings: () =>
        listLeases(this.#store)
          .map(holdingOf)
          .filter(({ state }) => state === 'warm' || state === 'ready'),
      emit,
      nowMs: () => this.#nowMs,
    });
    this.#housekeeping = new Housekeeping({
      root: this.#root,
      reports: this.#reports,
      reaper: this.#reaper,
      bridge: this.#bridge,
      manager: this.#manager,
      gate: this.#gate,
      tracking: this.#tracking,
      verification: this.#verification,
      mesh: this.#mesh,
      nowMs: () => this.#nowMs,
      emit,
      failed: options.failed,
    });
    this.#news = new ProblemNews(() => this.status().problems, emit);
    this.#opened = opened.move();
  }

  /** Starts the thread that helps; the work is the same without. */
  hire(): void {
    this.#crew.hire();
  }

  /** See {@link Manager.changes}. */
  get changes(): number {
    return this.#manager.changes;
  }

  create(requests: readonly CreateRequest[]): Sandbox[] {
    // one that exists is returned as it is, and it is to pass
    if (requests.some(({ id }) => id !== undefined && this.#manager.live.has(id))) this.#verification.finishRules();
    if (requests.some(({ id }) => id === undefined || !this.#manager.live.has(id))) {
      this.#draining.assertTakes(this.#options.host.instance);
    }
    return this.#manager.create(requests);
  }

  update(id: SandboxId, change: SandboxChange): Sandbox {
    // what is taken out of a table must be in it
    this.#verification.finishRules();
    return this.#manager.update(id, change);
  }

  remove(ids: readonly SandboxId[]): Removal[] {
    this.#verification.finishRules();
    return this.#manager.remove(ids);
  }

  list(): Sandbox[] {
    return this.#manager.list();
  }

  inspect(id: SandboxId): Sandbox {
    return this.#manager.inspect(id);
  }

  leases(): LeaseView[] {
    return this.#manager.leases();
  }

  reconcile(options: { readonly dryRun: boolean }): { plan: string[]; applied: boolean } {
    return reconcile(
      {
        store: this.#store,
        kernel: this.#kernel,
        survey: this.#survey,
        manager: this.#manager,
        verification: this.#verification,
        root: this.#root,
        gate: this.#gate,
        mesh: this.#mesh,
        emit: this.#options.emit,
      },
      options,
    );
  }

  /**
   * @throws CulvertError `lease_state` where the slot is not in quarantine, or its flush is not verified and `force`
   *   was not given
   */
  release(slot: Slot, options: { readonly force: boolean }): LeaseView {
    const view = this.#manager.release(slot, options);
    this.#bridge.expect();
    return view;
  }

  /** See {@link HostMesh.update}. */
  updatePeers(changes: readonly PeerChange[], isAll: boolean): void {
    this.#mesh?.update(changes, isAll);
  }

  /** See {@link HostMesh.steer}, {@link Resizing.step}. */
  steer(orders: MeshOrders): Steered {
    if (this.#mesh?.steer(orders) === false) return { isSteered: false, isSized: false };
    return { isSteered: true, isSized: orders.mtu === undefined || this.#resizing.step(orders.mtu) };
  }

  /** See {@link HostMesh.traffic}. */
  traffic(): ReturnType<HostMesh['traffic']> {
    return this.#mesh?.traffic() ?? [];
  }

  /** See {@link HostMesh.courses}. */
  courses(): ReturnType<HostMesh['courses']> {
    return this.#mesh?.courses() ?? [];
  }

  /** See {@link Gate.tellMembers}. */
  updateMembers(news: readonly MemberNews[]): void {
    // those that it takes over stand in its books when it has looked at them
    this.#verification.finishRules();
    this.#housekeeping.oweFarFlows(this.#gate.tellMembers(news));
  }

  /** @throws CulvertError `draining_file` */
  setDraining(isDraining: boolean): void {
    const { emit, host } = this.#options;
    if (isDraining && this.#draining.begin()) {
      emit({ type: 'host.draining', message: `Host ${host.instance} takes no new sandboxes` });
    }
    if (!isDraining && this.#draining.end()) {
      emit({ type: 'host.undrained', message: `Host ${host.instance} takes new sandboxes again` });
    }
  }

  /** Everything that is Culvert's on this host, and nothing else. The leases stay: their generations must. */
  purge(): void {
    this.remove(this.list().map(({ id }) => id));
    this.#manager.drain();
    this.#reaper.pause();
    // nobody builds any more in what goes now
    this.#crew[Symbol.dispose]();
    for (const namespace of this.#kernel.namespaces()) {
      if (namespace !== ROUTER) this.#kernel.remove([{ verb: 'delete', object: { kind: 'namespace', namespace } }]);
    }
    this.#root.remove();
    this.#mesh?.remove();
    this.#kernel.remove([{ verb: 'delete', object: { kind: 'namespace', namespace: ROUTER } }]);
    this.#reaper.quarantineAll();
    this.#draining.end();
    releasePins(join(this.#options.runDir, 'netns'));
  }

  status(): Status {
    const { host, version, slots } = this.#options;
    const { live, warm } = this.#manager.counts();
    const quarantined = countQuarantined(this.#store);
    const { unwritten, uncut, building } = this.#manager;
    const removing = this.#reaper.pending + this.#reaper.refused + uncut;
    const { sinceWallMs } = this.#draining;
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
      adopting: !this.#verification.isDone && !this.#resizing.isUnderWay,
      mtu: host.layout.mtu,
      flows: this.#tracking.usage(this.#nowMs),
      ...(sinceWallMs === undefined ? {} : { drainingSinceWallMs: sinceWallMs }),
      problems: [
        ...undone({ manager: this.#manager, reaper: this.#reaper, crew: this.#crew, store: this.#store }),
        ...[...this.#problems].map(([code, message]) => ({ code, message })),
        ...this.#root.problems(this.#nowMs),
        ...this.#tracking.problems(this.#nowMs),
        ...this.#housekeeping.problems(),
        ...this.#verification.problems(),
        ...this.#reports.problems(this.#nowMs),
        ...this.#bridge.problems(this.#nowMs),
        ...this.#gate.problems(),
        ...(this.#mesh?.problems() ?? []),
        ...this.names.problems(),
      ],
    };
  }

  /** See {@link Housekeeping.step}. */
  step(): number {
    const restMs = this.#housekeeping.step();
    this.#news.step(this.#nowMs);
    return restMs;
  }

  [Symbol.dispose](): void {
    this.#opened.dispose();
  }

  /** Names of namespaces that are slots' and that no lease has. */
  #unleased(): string[] {
    const leased = new Set(listLeases(this.#store).map(({ slot }) => sandboxNamespace(slot)));
    return this.#kernel.namespaces().filter((name) => isSandboxNamespace(name) && !leased.has(name));
  }

  /** Ready when this returns: every sandbox of an earlier run is adopted, and what they hold is verified after. */
  #adopt(): Verification {
    const { host, quarantineFloor_ms: floor_ms, emit } = this.#options;
    onBoot(this.#store, { floor_ms });
    setBridgeRange(this.#store, host.layout.bridgeRange);
    this.#bridge.step(this.#nowMs);
    const parts = { store: this.#store, kernel: this.#kernel, survey: this.#survey, gate: this.#gate };
    const adopted = adopt({
      ...parts,
      reaper: this.#reaper,
      manager: this.#manager,
      emit,
      problem: (code, message) => this.#problems.set(code, message),
    });
    const reported = {
      repaired: (holding: Holding, plan: Plan) => {
        // that all are given another size is said once
        if (this.#resizing.isUnderWay) return;
        const message = `Repaired the network of slot ${holding.key.slot}: ${planText(plan)}`;
        emit({ type: 'sandbox.repaired', message, ...subjectOf(holding) });
      },
      rulesRepaired: (changes: readonly string[]) => {
        const message = `Put right in the router’s tables: ${inBrief(changes)}`;
        emit({ type: 'host.repaired', message });
      },
    };
    return new Verification({ ...parts, crew: this.#crew, layout: host.layout, ...reported }, adopted);
  }

  get #nowMs(): number {
    return this.#store.clock.monotonicMs();
  }

  /** A policy holds, whatever becomes of the flows that it denies. */
  #cutDenied(passes: readonly Pass[]): void {
    try {
      this.#tracking.cutDenied(passes);
    } catch (error) {
      this.#options.failed(error);
      this.#housekeeping.owePolicies();
    }
  }

  /** The wire hears of an address when its owner does. */
  #tell(type: string, holding: Holding, message: string): void {
    this.#options.emit({ type, message, ...subjectOf(holding) });
    const { bridgeAddress } = holding;
    if (bridgeAddress === undefined) return;
    if (type === 'sandbox.created') this.#bridge.announce(bridgeAddress, this.#nowMs);
    else if (type === 'sandbox.removed') this.#bridge.withdraw(bridgeAddress);
  }

  /** What netlink cannot reach must not keep the daemon from starting; a person is told. */
  #openLegacy(): void {
    try {
      this.#root.openLegacy();
    } catch (error) {
      this.#problems.set('legacy_firewall', error instanceof Error ? error.message : String(error));
    }
  }
}

function total(counts: Readonly<Record<Topology, number>>): number {
  return counts.microvm + counts.netns + counts.bridge;
}
