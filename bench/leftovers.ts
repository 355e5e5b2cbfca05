import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CulvertClient } from '../src/api/client/client.ts';
import { pause } from './until.ts';

/** What says who is in a group, here and on other hosts. */
const GROUPED = [
  ['map', 'groups'],
  ['set', 'members'],
  ['map', 'far_groups'],
  ['set', 'far_members'],
] as const;
/** ms until a daemon has seen that connections were closed */
const CLOSING_MS = 200;

/** A daemon that is looked at. */
export type Holder = {
  readonly client: CulvertClient;
  readonly pid: number;
  /** folder of its pins */
  readonly pins: string;
  /** the pin of the host's own namespace */
  readonly root: string;
};

type Listed = {
  readonly nftables: readonly {
    readonly [kind in 'set' | 'map']?: { readonly elem?: readonly unknown[] };
  }[];
};

/** How many of everything there are that sandboxes bring with them. */
export type Holdings = Readonly<Record<string, number>>;

/** Counts what a daemon holds, in the kernel's words and not in its own. */
export async function countHoldings(holder: Holder): Promise<Holdings> {
  const { client, pins, root: host } = holder;
  const router = join(pins, 'router');
  const run = (namespace: string, ...command: string[]): string =>
    execFileSync('nsenter', [`--net=${namespace}`, ...command], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const list = (namespace: string, ...command: string[]): number =>
    (JSON.parse(run(namespace, ...command) || '[]') as unknown[]).length;
  const elements = (family: string, kind: string, name: string): number => {
    const text = run(router, 'nft', '-j', 'list', kind, family, 'culvert', name);
    return text.match(/generation/g)?.length ?? 0;
  };
  const all = (kind: string, name: string): number => {
    const { nftables } = JSON.parse(run(router, 'nft', '-j', 'list', kind, 'inet', 'culvert', name)) as Listed;
    return nftables.reduce((sum, { set, map }) => sum + ((set ?? map)?.elem?.length ?? 0), 0);
  };
  const leases = (await client.leases()).length;
  return {
    namespaces: readdirSync(pins).length,
    'links in the router': list(router, 'ip', '-j', 'link'),
    'routes in the router': list(router, 'ip', '-j', 'route', 'show', 'table', 'all'),
    'neighbours in the router': list(router, 'ip', '-j', 'neighbour', 'show', 'nud', 'permanent'),
    'elements of outbound': elements('inet', 'map', 'outbound'),
    'elements of inbound': elements('inet', 'map', 'inbound'),
    'elements of ports': elements('bridge', 'set', 'ports'),
    ...Object.fromEntries(GROUPED.map(([kind, name]) => [`elements of ${name}`, all(kind, name)])),
    'links in the host': list(host, 'ip', '-j', 'link'),
    leases,
    'descriptors of the daemon': await countDescriptors(holder),
  };
}

/** Without those of connections to it, which the bench holds. */
async function countDescriptors({ client, pid }: Holder): Promise<number> {
  client.close();
  await pause(CLOSING_MS);
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** What there is more of than before, as `2 namespaces`. */
export function growthOf(before: Holdings, after: Holdings): string[] {
  return Object.entries(after).flatMap(([name, count]) => {
    const more = count - (before[name] ?? 0);
    return more > 0 ? [`${more} ${name}`] : [];
  });
}
