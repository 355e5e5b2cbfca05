import { join } from 'node:path';
import { systemClock } from '../clock.ts';
import { setBridgeRange } from '../ipam/bridge/range.ts';
import { listSettled } from '../ipam/lookup.ts';
import { onBoot } from '../ipam/quarantine.ts';
import { openStore, type Store } from '../ipam/store.ts';
import { listLeases } from '../ipam/transition.ts';
import { Kernel } from '../linux/apply.ts';
import { FolderLock, preparePins } from '../linux/folder.ts';
import { NETLINK_NETFILTER } from '../linux/netlink/constants.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import { HostMesh } from '../mesh/host-mesh.ts';
import { directCable, PROBE_PORT } from '../mesh/link.ts';
import type { Plan } from '../plan/diff.ts';
import { ROOT, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import { BridgeWatch } from '../sandbox/bridge-watch/watch.ts';
import { Crew } from '../sandbox/crew/crew.ts';
import { inBrief } from '../sandbox/event.ts';
import { Gate } from '../sandbox/gate.ts';
import { type Holding, holdingOf, subjectOf } from '../sandbox/holding.ts';
import { HostAccess } from '../sandbox/host/access.ts';
import { ROUTER_REPORT_GROUP, rootReportGroup, UPLINK } from '../sandbox/host/objects.ts';
import { RootNamespace } from '../sandbox/host/root.ts';
import { Manager } from '../sandbox/manager.ts';
import type { Pass } from '../sandbox/pass.ts';
import { Reaper } from '../sandbox/reaper.ts';
import { Reports } from '../sandbox/reports/reports.ts';
import { bridgeRuleset } from '../sandbox/ruleset/bridge.ts';
import { rootTable } from '../sandbox/ruleset/names.ts';
import { routerRuleset } from '../sandbox/ruleset/router.ts';
import { Survey } from '../sandbox/survey.ts';
import {
  bridgeGateway,
  hostAddress,
  isSandboxNamespace,
  resolverAddress,
  sandboxNamespace,
} from '../sandbox/topology/layout.ts';
import { Tracking } from '../sandbox/tracking.ts';
import { Verification } from '../sandbox/verification.ts';
import { ownerOf } from '../tunnel/firewall/names.ts';
import { adopt } from './adopt.ts';
import type { CoreOptions } from './core-options.ts';
import { Draining } from './draining.ts';
import { Housekeeping } from './housekeeping.ts';
import { OpenedNames } from './names/opened.ts';
import { OpenedProbes } from './probes/opened.ts';
import { Resizing } from './resizing.ts';
import { assertNotLost, assertNotOutdated, leasesIn, makeFolder } from './state-folder.ts';

/** Of these parts, closed with `opened`. */
export type Assembled = Omit<Ground, 'rootNetfilter'> &
  Router &
  ReturnType<typeof openSandboxes> & { readonly opened: DisposableStack };

/**
 * Makes the parts of a core, and has them take over what an earlier run left: when this returns every sandbox of that is
 * adopted, and what they hold is verified after.
 *
 * @throws CulvertError `store_*`, `apply_failed`: then nothing that runs was touched
 */
export function assemble(options: CoreOptions): Assembled {
  // what is opened is closed again where a later step fails
  using opened = new DisposableStack();
  const ground = openGround(options, opened);
  const router = openRouter(options, ground, opened);
  const { rootNetfilter: _, ...kept } = ground;
  return { ...kept, ...router, ...openSandboxes(options, { ...ground, ...router }, opened), opened: opened.move() };
}

/** What stands before there is a router: leases, kernel, and what is Culvert's in the root namespace. */
function openGround(options: CoreOptions, opened: DisposableStack) {
  const { host, stateDir, runDir, stuck, mesh } = options;
  makeFolder(stateDir);
  opened.use(new FolderLock(stateDir));
  const leases = leasesIn(stateDir);
  const pins = join(runDir, 'netns');
  assertNotLost(leases, pins);
  const draining = new Draining(stateDir);
  const store = opened.use(openStore(leases, systemClock()));
  // A pin is made and removed under a lease that says so; one that is bare otherwise shows when it is looked into.
  preparePins(pins, new Set(listSettled(store).map(sandboxNamespace)));
  const kernel = opened.use(new Kernel(pins, [ROOT, ROUTER]));
  assertNotOutdated(leases, pins, unleased(store, kernel));
  const crew = opened.use(new Crew({ kernel, layout: host.layout, stuck }));
  const survey = new Survey(kernel, host);
  const rootNetfilter = opened.use(new NetlinkSocket(NETLINK_NETFILTER));
  const root = new RootNamespace({
    host,
    kernel,
    survey,
    netfilter: rootNetfilter,
    reportGroup: rootReportGroup(host.instance),
    formerSettings: join(stateDir, 'former-settings.json'),
    bootId: store.clock.bootId,
    // what a tunnel's kill switch is there to stop
    isShut: ({ name }) => ownerOf(name)?.purpose === 'kill switch',
    ...(mesh === undefined ? {} : { direct: directCable(host.instance).name }),
  });
  root.setUp();
  const found = new Map<string, string>();
  openLegacy(root, found);
  return { draining, store, kernel, crew, survey, rootNetfilter, root, found };
}

type Ground = ReturnType<typeof openGround>;

/** What is in the router, and by it with other hosts. */
function openRouter(options: CoreOptions, { kernel, rootNetfilter }: Ground, opened: DisposableStack) {
  const { host, maxFlows, mesh: meshOptions } = options;
  const { layout, instance } = host;
  const resolver = resolverAddress(layout);
  const near = hostAddress(layout, 0);
  const meshParts = { kernel, instance, mtu: layout.mtu };
  const mesh = meshOptions === undefined ? undefined : opened.use(new HostMesh(meshOptions, meshParts));
  const netfilter = opened.use(kernel.inside(ROUTER, () => new NetlinkSocket(NETLINK_NETFILTER)));
  const probes = meshOptions && opened.use(new OpenedProbes(kernel, instance, meshOptions));
  const names = opened.use(new OpenedNames(kernel, resolver));
  const cluster = meshOptions === undefined ? {} : { cluster: meshOptions.range };
  const reported = { reportGroup: ROUTER_REPORT_GROUP };
  const rulesets = [
    routerRuleset({
      uplink: UPLINK.name,
      maxFlows,
      probePort: PROBE_PORT,
      resolver,
      host: near,
      ...reported,
      ...cluster,
    }),
    bridgeRuleset({ gateway: bridgeGateway(layout), ...reported }),
  ];
  const gate = new Gate(netfilter, layout, rulesets, new HostAccess(rootNetfilter, rootTable(instance)));
  const tracking = new Tracking({ router: netfilter, root: rootNetfilter, kernel, layout, gate, ...cluster });
  return { mesh, probes, names, gate, tracking };
}

type Router = ReturnType<typeof openRouter>;

/** Who creates, removes, adopts and watches sandboxes; those of an earlier run are adopted. */
function openSandboxes(options: CoreOptions, known: Ground & Router, opened: DisposableStack) {
  const { host, slots, poolSizes, quarantineFloor_ms: floor_ms, arpTiming, emit, tell, failed } = options;
  const { layout, instance } = host;
  const { store, kernel, crew, gate, tracking, found } = known;
  const nowMs = (): number => store.clock.monotonicMs();
  const parts = { store, kernel, layout, emit };
  const reaper = new Reaper({ ...parts, crew, floor_ms, flush: (addresses) => tracking.flush(addresses) });
  const manager: Manager = new Manager({
    ...parts,
    crew,
    gate,
    reaper,
    slots,
    poolSizes,
    cutDenied: (passes) => cutDenied(passes),
    emit: (type, holding, message) => {
      emit({ type, message, ...subjectOf(holding) });
      tellWire(type, holding);
    },
    tell,
  });
  const groups = { router: ROUTER_REPORT_GROUP, root: rootReportGroup(instance) };
  const reports = opened.use(new Reports({ ...parts, groups }));
  const timing = arpTiming === undefined ? {} : { timing: arpTiming };
  const bridge = opened.use(new BridgeWatch({ ...parts, ...timing, discard: (slot) => manager.discard(slot) }));
  onBoot(store, { floor_ms });
  setBridgeRange(store, layout.bridgeRange);
  bridge.step(nowMs());
  const problem = (code: string, message: string): void => void found.set(code, message);
  const adopted = adopt({ ...known, reaper, manager, emit, problem });
  const verification: Verification = new Verification(
    {
      ...known,
      layout,
      repaired: (holding, plan) => tellRepaired(holding, plan),
      rulesRepaired: (changes) => {
        emit({ type: 'host.repaired', message: `Put right in the router’s tables: ${inBrief(changes)}` });
      },
    },
    adopted,
  );
  const holdings = (): Holding[] => {
    const all = listLeases(store).map(holdingOf);
    return all.filter(({ state }) => state === 'warm' || state === 'ready');
  };
  const resizing = new Resizing({ ...known, layout, manager, verification, holdings, emit, nowMs });
  const kept = { reaper, manager, reports, bridge, verification };
  const housekeeping = new Housekeeping({ ...known, ...kept, nowMs, emit, failed });

  /** A policy holds, whatever becomes of the flows that it denies. */
  function cutDenied(passes: readonly Pass[]): void {
    try {
      tracking.cutDenied(passes);
    } catch (error) {
      failed(error);
      housekeeping.owePolicies();
    }
  }

  /** The wire hears of an address when its owner does. */
  function tellWire(type: string, { bridgeAddress }: Holding): void {
    if (bridgeAddress === undefined) return;
    if (type === 'sandbox.created') bridge.announce(bridgeAddress, nowMs());
    else if (type === 'sandbox.removed') bridge.withdraw(bridgeAddress);
  }

  function tellRepaired(holding: Holding, plan: Plan): void {
    // that all are given another size is said once
    if (resizing.isUnderWay) return;
    const message = `Repaired the network of slot ${holding.key.slot}: ${planText(plan)}`;
    emit({ type: 'sandbox.repaired', message, ...subjectOf(holding) });
  }

  return { ...kept, resizing, housekeeping };
}

/** Names of namespaces that are slots' and that no lease has. */
function unleased(store: Store, kernel: Kernel): string[] {
  const leased = new Set(listLeases(store).map(({ slot }) => sandboxNamespace(slot)));
  return kernel.namespaces().filter((name) => isSandboxNamespace(name) && !leased.has(name));
}

/** What netlink cannot reach must not keep the daemon from starting; a person is told. */
function openLegacy(root: RootNamespace, found: Map<string, string>): void {
  try {
    root.openLegacy();
  } catch (error) {
    found.set('legacy_firewall', error instanceof Error ? error.message : String(error));
  }
}
