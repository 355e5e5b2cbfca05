import { join } from 'node:path';
import { Core } from '../../src/daemon/core.ts';
import type { CoreOptions } from '../../src/daemon/core-options.ts';
import { parseSandboxId, parseSlot, type SandboxId, type Topology } from '../../src/ipam/lease.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { DEFAULT_LAYOUT } from '../../src/sandbox/topology/layout.ts';
import type { Rates } from '../../src/sandbox/topology/network.ts';

/** What a core that takes over after a kill finds and makes of it. */
export type Report = {
  readonly sandboxes: readonly Sandbox[];
  readonly leases: readonly { readonly slot: number; readonly state: string }[];
  readonly plan: readonly string[];
};

export const VICTIM = parseSandboxId('victim');
/** More than a pool of three has, so that some are made at once. */
export const VICTIMS = Array.from({ length: 6 }, (_, index) => parseSandboxId(`victim-${index}`));

const idle = new Int32Array(new SharedArrayBuffer(4));

export function pause_ms(time: number): void {
  Atomics.wait(idle, 0, 0, time);
}

export const LAB: CoreOptions['host'] = {
  instance: 'lab',
  layout: { ...DEFAULT_LAYOUT, mtu: 1420 },
  uplink: 'eth0',
  inbound: [],
};

/** A core on a {@link LabHost}, for the thread that is inside that host. */
export function openCore(folder: string, options: Partial<CoreOptions> = {}): Core {
  return new Core({
    host: LAB,
    version: '0',
    stateDir: join(folder, 'state'),
    runDir: join(folder, 'run'),
    slots: { first: parseSlot(1), last: parseSlot(64) },
    poolSizes: { microvm: 0, netns: 0, bridge: 0 },
    quarantineFloor_ms: 0,
    maxFlows: 1000,
    emit: () => undefined,
    tell: () => undefined,
    // out of the step, to whoever takes it
    failed: (error) => {
      throw error;
    },
    ...options,
  });
}

export function createSandbox(core: Core, id: string, topology: Topology): void {
  createSandboxes(core, [parseSandboxId(id)], topology);
}

const RATES: Rates = { receive: { rate: 1_000_000, burst: 100_000 } };

/** In one call. */
export function createSandboxes(core: Core, ids: readonly SandboxId[], topology: Topology, rates = RATES): void {
  const policy = { egress: 'open', allow: [], deny: [] } as const;
  core.create(ids.map((id) => ({ id, specification: { topology, rates, policy } })));
}

/** Steps until nothing is left to do. */
export function settle(core: Core): void {
  for (let step = 0; step < 5000; step++) {
    const more = core.step() === 0;
    const { removing, quarantined, adopting } = core.status();
    if (!more && removing === 0 && quarantined === 0 && !adopting) return;
    pause_ms(1);
  }
  throw new Error(`Not settled: ${JSON.stringify(core.status())}`);
}

/** Another core comes, finds what the killed one left, and clears away the victim when `check` has looked. */
export function takeOver(folder: string, check: (report: Report) => void): void {
  using core = openCore(folder);
  settle(core);
  const { plan } = core.reconcile({ dryRun: true });
  check({ sandboxes: core.list(), leases: core.leases(), plan });
  core.remove(core.list().flatMap(({ id }) => (id.startsWith(VICTIM) ? [id] : [])));
  settle(core);
}
