import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { LeaseResource, SandboxResource } from '../../src/api/client/client.ts';
import { until } from '../pace.ts';
import type { Stage } from '../stage.ts';
import { addressesInside, type KernelView, lookAtKernel } from './kernel.ts';

/** ms */
const SETTLE_MS = 30_000;

/** Leases, counted by what they are for. */
export type AuditCounts = { readonly sandboxes: number; readonly warm: number; readonly resting: number };

/**
 * Compares what Culvert says it holds with what the kernel holds, in the words of other programs, and with the ledger
 * of what it answered.
 *
 * @param when to be read after "nothing is leaked or doubled"
 * @throws ProofError
 */
export async function audit(stage: Stage, when: string): Promise<AuditCounts> {
  const { daemon, lab, ledger, narrator } = stage;
  const { client } = daemon;
  await until(() => isSettled(stage), SETTLE_MS, 'the pool to be full and the rest to be cleared up');
  const [sandboxes, leases] = await Promise.all([client.list(), client.leases()]);
  const kernel = lookAtKernel(lab, daemon);
  const standing = leases.filter(({ state }) => state !== 'quarantined');
  const counts: AuditCounts = {
    sandboxes: sandboxes.length,
    warm: standing.length - sandboxes.length,
    resting: leases.length - standing.length,
  };
  narrator.prove({
    claim: `${when}, what Culvert lists is what it answered`,
    done: 'compared GET /v1/sandboxes and /v1/leases with the ledger',
    seen: `${counts.sandboxes} sandboxes, ${counts.warm} warm networks, ${counts.resting} in quarantine`,
    observed: {
      sandboxes: sandboxes.map(lifeText).toSorted(),
      leased: leases
        .filter(({ state }) => state === 'ready')
        .map(leaseText)
        .toSorted(),
      unfinished: leases.filter(({ state }) => state === 'creating' || state === 'removing').map(leaseText),
    },
    expected: {
      sandboxes: ledger.held.map(lifeText).toSorted(),
      leased: sandboxes.map(ownerText).toSorted(),
      unfinished: [],
    },
  });
  narrator.prove({
    claim: `${when}, nothing is leaked or doubled in the kernel`,
    done: 'compared ip -j link and route, nft -j list map and set, and /proc/self/mountinfo with the leases',
    seen: [
      `${kernel.mounts.length} namespaces with the router’s`,
      `${kernel.links.length} links`,
      `${kernel.routes.length} routes`,
      `${kernel.outbound.length} + ${kernel.inbound.length} + ${kernel.ports.length} elements`,
    ].join(', '),
    observed: kernel,
    expected: expectedView(sandboxes, standing),
  });
  const inside = sandboxes.map(({ id, netns }) => `${id} ${addressesInside(netns).join(' ')}`);
  const addresses = new Set(sandboxes.map(({ hostAddress }) => hostAddress)).size;
  narrator.prove({
    claim: `${when}, no address is in two sandboxes`,
    done: 'asked getifaddrs(3) inside every sandbox',
    seen: `${addresses} addresses in ${inside.length} sandboxes`,
    observed: { inside, addresses },
    expected: {
      inside: sandboxes.map((one) => `${one.id} ${expectedInside(one).join(' ')}`),
      addresses: sandboxes.length,
    },
  });
  return counts;
}

/** While the pool fills, what one asks and what another sees a moment later are two things. */
async function isSettled({ daemon, poolSizes }: Stage): Promise<boolean> {
  const { warm, removing, adopting } = await daemon.client.status();
  return removing === 0 && !adopting && isDeepStrictEqual(warm, poolSizes);
}

/** The inode of each sandbox's namespace: another one is another namespace. */
export function namespacesOf(sandboxes: readonly SandboxResource[]): Map<string, number> {
  return new Map(sandboxes.map(({ id, netns }) => [id, statSync(netns).ino]));
}

/** Who it is, in which life, where. */
export function lifeText({ id, slot, generation, hostAddress }: SandboxResource): string {
  return `${id} slot ${slot} generation ${generation} at ${hostAddress}`;
}

function ownerText({ id, slot, generation }: SandboxResource): string {
  return `${id} slot ${slot} generation ${generation}`;
}

function leaseText({ sandboxId, slot, generation, state }: LeaseResource): string {
  const text = `${sandboxId ?? 'nobody'} slot ${slot} generation ${generation}`;
  return state === 'ready' ? text : `${text} ${state}`;
}

/** What the kernel must hold where these are all there is; how it is laid out stands in docs/architecture.md. */
function expectedView(sandboxes: readonly SandboxResource[], standing: readonly LeaseResource[]): KernelView {
  const links = standing.map(({ slot }) => `s${slot}`).toSorted();
  const comment = ({ id, generation }: SandboxResource): string => `of ${id} generation ${generation}`;
  const link = ({ topology, slot }: SandboxResource): string => (topology === 'bridge' ? 'rt0' : `s${slot}`);
  return {
    pins: ['router', ...links].toSorted(),
    mounts: ['router', ...links].toSorted(),
    links,
    routes: standing
      .filter(({ topology }) => topology !== 'bridge')
      .map(({ slot }) => `${slotAddress(slot)} s${slot}`)
      .toSorted(),
    outbound: sandboxes.map((one) => `${link(one)} ${one.guestAddress} ${comment(one)}`).toSorted(),
    inbound: sandboxes.map((one) => `${link(one)} ${one.hostAddress} ${comment(one)}`).toSorted(),
    ports: sandboxes
      .filter(({ topology }) => topology === 'bridge')
      .map((one) => `s${one.slot} ${one.mac} ${one.hostAddress} ${comment(one)}`)
      .toSorted(),
  };
}

/** What is on the loopback and on `eth0`. */
function expectedInside({ topology, slot, hostAddress }: SandboxResource): string[] {
  return topology === 'bridge' ? [hostAddress] : [hostAddress, cableAddress(slot)];
}

/** Slot i is reached at the i-th address of 10.11.0.0/16. */
function slotAddress(slot: number): string {
  return addressAt('10.11', slot);
}

/** The sandbox's end of slot i's cable has the address 2i + 1 of 10.12.0.0/16. */
function cableAddress(slot: number): string {
  return addressAt('10.12', 2 * slot + 1);
}

function addressAt(range: string, index: number): string {
  return `${range}.${index >> 8}.${index & 255}`;
}
