import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { beginSteps, step, stepSlowly, wrap } from './kill-at.ts';

/*
 * Preloaded into each thread of a clustered daemon (`--import`), so that it is killed at a step that is told by its
 * number. Steps are what outlives it: what it writes to the registry, each file of its state folder that it puts in place (with its
 * draft left behind) or removes, and each order of its mesh to the kernel or to the program that makes its WireGuard device. All threads count
 * together.
 *
 * With KILL_BEGIN `wish` from when it writes how hosts are to send.
 *
 *     KILL_FOLLOWS   a path: while there is such a file, it leads no change
 */

const { KILL_FOLLOWS } = process.env;

/** Whether this thread is doing what the mesh wants. */
let depth = 0;

function wrapFiles(): void {
  const isState = (path: unknown): boolean => typeof path === 'string' && /\/state\/(cluster|wireguard)/.test(path);
  const isOurs = (path: unknown): boolean => isState(path) || depth > 0;
  const short = (path: unknown): string => String(path).split('/').slice(-2).join('/');
  wrap(fs, 'renameSync', (call, [, path]) => (isState(path) ? step(`rename ${short(path)}`, call) : call()));
  wrap(fs, 'rmSync', (call, [path]) => (isOurs(path) ? step(`rm ${short(path)}`, call) : call()));
  wrap(fs, 'writeFileSync', (call, [path]) => (isOurs(path) ? step(`write ${short(path)}`, call) : call()));
  wrap(childProcess, 'spawn', (call, [command]) => (depth > 0 ? step(`spawn ${String(command)}`, call) : call()));
  syncBuiltinESMExports();
}

async function wrapMesh(): Promise<void> {
  const [{ HostMesh }, { NetlinkSocket }, { UserspaceWireguard }, { KernelWireguard }] = await Promise.all([
    import('../../src/mesh/host-mesh.ts'),
    import('../../src/linux/netlink/socket.ts'),
    import('../../src/linux/wireguard/userspace.ts'),
    import('../../src/linux/wireguard/kernel.ts'),
  ]);
  for (const name of ['update', 'steer', 'step', 'reconcile', 'remove']) {
    wrap(HostMesh.prototype, name, (call) => {
      depth++;
      try {
        return call();
      } finally {
        depth--;
      }
    });
  }
  const attempts = (requests: unknown): string =>
    (requests as { readonly attempt: string }[])
      .map(({ attempt }) => attempt)
      .join(', ')
      .slice(0, 100);
  wrap(NetlinkSocket.prototype, 'batch', (call, [requests]) =>
    depth > 0 && (requests as unknown[]).length > 0 ? step(`netlink ${attempts(requests)}`, call) : call(),
  );
  wrap(NetlinkSocket.prototype, 'transaction', (call, [, requests]) =>
    depth > 0 ? step(`nftables ${attempts(requests)}`, call) : call(),
  );
  for (const kind of [UserspaceWireguard, KernelWireguard]) {
    wrap(kind.prototype, 'edit', (call, [edits]) => step(`wireguard ${(edits as unknown[]).length} edits`, call));
  }
}

async function wrapRegistry(): Promise<void> {
  const { EmbeddedRegistry } = await import('../../src/cluster/embedded/registry.ts');
  type Write = { readonly key: string; readonly value: string | undefined };
  wrap(EmbeddedRegistry.prototype, 'commit', async (call, [, writes]) => {
    const all = writes as readonly Write[];
    const leads = all.some(({ key, value }) => key === 'mesh/conductor' && value !== undefined);
    if (leads && KILL_FOLLOWS !== undefined && fs.existsSync(KILL_FOLLOWS)) return undefined;
    const isWish = all.some(({ key, value }) => key === 'mesh/epoch' && value?.includes('"accept"') === true);
    if (isWish) beginSteps();
    const keys = all.map(({ key, value }) => (value === undefined ? `no ${key}` : key)).join(' ');
    return stepSlowly(`commit ${keys}`, call as () => Promise<unknown>);
  });
  wrap(EmbeddedRegistry.prototype, 'grant', (call) => stepSlowly('grant', call as () => Promise<unknown>));
}

if (isMainThread) await wrapRegistry();
else await wrapMesh();
wrapFiles();
