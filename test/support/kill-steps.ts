import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';

/*
 * Preloaded into each thread of a clustered daemon (`--import`), so that it is killed at a step that is told by its
 * number. Steps are what outlives it: what it writes to the registry, each file of its state folder that it puts in place (with its
 * draft left behind) or removes, and each order of its mesh to the kernel or to the program that makes its WireGuard device. All threads count
 * together.
 *
 *     KILL_BEGIN     `start`: from the daemon's start on; `wish`: from when it writes how hosts are to send
 *     KILL_AT        `before 7` or `after 7`; absent: never
 *     KILL_LOG       a file that has a line for each step, in the end
 *     KILL_FOLLOWS   a path: while there is such a file, it leads no change
 */

const { KILL_BEGIN = 'start', KILL_AT = '', KILL_LOG, KILL_FOLLOWS } = process.env;
const [when, nth] = KILL_AT.split(' ');

const SHARED = 'culvert-kill-steps';
/** of `shared`: whether steps are counted, and how many there were */
const [BEGUN, COUNT] = [0, 1];
if (isMainThread) {
  setEnvironmentData(SHARED, new SharedArrayBuffer(8));
}
const shared = new Int32Array(getEnvironmentData(SHARED) as SharedArrayBuffer);
if (isMainThread) shared[BEGUN] = Number(KILL_BEGIN === 'start');

const { writeSync } = fs;
const log = KILL_LOG === undefined ? undefined : fs.openSync(KILL_LOG, 'a');

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // nothing of this thread goes on until it is dead
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Counts a step, dies before it where it is the one, and says whether to die after it. */
function begin(what: string): boolean {
  if (Atomics.load(shared, BEGUN) === 0) return false;
  const number = Atomics.add(shared, COUNT, 1) + 1;
  if (log !== undefined) writeSync(log, `${number} ${what}\n`);
  if (String(number) !== nth) return false;
  if (when === 'before') die();
  return true;
}

function step<T>(what: string, body: () => T): T {
  const dies = begin(what);
  const result = body();
  if (dies) die();
  return result;
}

async function stepSlowly<T>(what: string, body: () => Promise<T>): Promise<T> {
  const dies = begin(what);
  const result = await body();
  if (dies) die();
  return result;
}

/** Whether this thread is doing what the mesh wants. */
let depth = 0;

type Functions = Record<string, (...given: never[]) => unknown>;

/** Puts a function around one that an object has. */
function wrap(target: object, name: string, around: (call: () => unknown, given: readonly unknown[]) => unknown): void {
  const functions = target as Functions;
  const inner = functions[name];
  if (inner === undefined) throw new Error(`There is no ${name} to count`);
  functions[name] = function (this: unknown, ...given: never[]) {
    return around(() => inner.apply(this, given), given);
  };
}

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
    if (isWish) Atomics.store(shared, BEGUN, 1);
    const keys = all.map(({ key, value }) => (value === undefined ? `no ${key}` : key)).join(' ');
    return stepSlowly(`commit ${keys}`, call as () => Promise<unknown>);
  });
  wrap(EmbeddedRegistry.prototype, 'grant', (call) => stepSlowly('grant', call as () => Promise<unknown>));
}

if (isMainThread) await wrapRegistry();
else await wrapMesh();
wrapFiles();
