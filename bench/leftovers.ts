import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import type { Culvert } from './contestants/culvert.ts';
import { pause } from './until.ts';

/** ms until a daemon has seen that connections were closed */
const CLOSING_MS = 200;

/** How many of everything there are that sandboxes bring with them. */
export type Holdings = Readonly<Record<string, number>>;

/** Counts what a daemon holds, in the kernel's words and not in its own. */
export async function countHoldings(culvert: Culvert): Promise<Holdings> {
  const router = culvert.pin('router');
  const host = culvert.host.pin('host');
  const run = (namespace: string, ...command: string[]): string =>
    execFileSync('nsenter', [`--net=${namespace}`, ...command], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const list = (namespace: string, ...command: string[]): number =>
    (JSON.parse(run(namespace, ...command) || '[]') as unknown[]).length;
  const elements = (family: string, kind: string, name: string): number => {
    const text = run(router, 'nft', '-j', 'list', kind, family, 'culvert', name);
    return text.match(/generation/g)?.length ?? 0;
  };
  const leases = (await culvert.client.leases()).length;
  return {
    namespaces: readdirSync(culvert.pin('.')).length,
    'links in the router': list(router, 'ip', '-j', 'link'),
    'routes in the router': list(router, 'ip', '-j', 'route', 'show', 'table', 'all'),
    'neighbours in the router': list(router, 'ip', '-j', 'neighbour', 'show', 'nud', 'permanent'),
    'elements of outbound': elements('inet', 'map', 'outbound'),
    'elements of inbound': elements('inet', 'map', 'inbound'),
    'elements of ports': elements('bridge', 'set', 'ports'),
    'links in the host': list(host, 'ip', '-j', 'link'),
    leases,
    'descriptors of the daemon': await countDescriptors(culvert),
  };
}

/** Without those of connections to it, which the bench holds. */
async function countDescriptors({ client, pid }: Culvert): Promise<number> {
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
