import { CulvertError, type SandboxResource } from '../../src/api/client/client.ts';
import { lifeText, namespacesOf } from '../audit/audit.ts';
import { msText } from '../figures.ts';
import { until } from '../pace.ts';
import type { Stage } from '../stage.ts';
import { createOne, type Order } from './create.ts';
import type { Neighbours } from './reach.ts';
import { INTERVAL_MS, Traffic } from './traffic.ts';

/** Creations under way at a time. */
const PARALLEL = 8;
const PATIENCE_MS = 30_000;

/**
 * Kills the daemon in the middle of creations while traffic runs, starts another, has it finish them, and proves that
 * no sandbox noticed. The traffic runs on.
 */
export async function killAndRestart(stage: Stage, orders: readonly Order[], neighbours: Neighbours): Promise<Traffic> {
  const { narrator, daemon, ledger, figures } = stage;
  narrator.act('Kill the daemon in the middle of creations, while traffic runs');
  const traffic = await Traffic.start(stage, neighbours);
  narrator.say(`traffic through four sandboxes, a packet each ${INTERVAL_MS} ms`);

  const { kill, before } = await killAmidCreations(stage, orders);
  narrator.prove({
    claim: 'the daemon was killed in the middle of creations',
    done: `sent SIGKILL to process ${kill.pid} when ${kill.answered} of ${orders.length} had been created`,
    seen: `${kill.cutOff.length} requests were cut off`,
    observed: { cutOff: kill.cutOff.length > 0 },
    expected: { cutOff: true },
  });
  const found = new Set((await daemon.client.list()).map(({ id }) => id));
  const begun = kill.cutOff.filter(({ id }) => found.has(id)).length;
  narrator.say(`another is up (pid ${daemon.pid}); of those cut off it has finished ${begun} that were begun`);
  let firstMs: number | undefined;
  await createParallel(stage, [...kill.cutOff, ...kill.waiting], () => (firstMs ??= performance.now() - kill.atMs));
  if (firstMs === undefined) throw new Error('Nothing was left to create');
  narrator.say(`it creates again ${msText(firstMs)} after the kill; the same ids were asked for once more`);
  figures.add('SIGKILL until it creates again', msText(firstMs), `a new process, ${before.size} sandboxes live`);

  await until(async () => !(await daemon.client.status()).adopting, PATIENCE_MS, 'every sandbox to be verified');
  figures.add('SIGKILL until all are verified', msText(performance.now() - kill.atMs), 'the insides of all sandboxes');
  proveUndisturbed(stage, before, await daemon.client.list());
  narrator.say(`${ledger.held.length} sandboxes live`);
  return traffic;
}

/** The life of a sandbox, and the inode of its namespace. */
type Lives = ReadonlyMap<string, { readonly life: string; readonly namespace: number | undefined }>;

function livesOf(sandboxes: readonly SandboxResource[]): Lives {
  const namespaces = namespacesOf(sandboxes);
  return new Map(sandboxes.map((one) => [one.id, { life: lifeText(one), namespace: namespaces.get(one.id) }]));
}

function proveUndisturbed({ narrator }: Stage, before: Lives, sandboxes: readonly SandboxResource[]): void {
  narrator.prove({
    claim: 'what lived lives on, with the same slot, generation, address and namespace',
    done: `compared ${before.size} sandboxes and the inodes of their namespaces with those before the kill`,
    seen: 'all are the same',
    observed: livesOf(sandboxes.filter(({ id }) => before.has(id))),
    expected: before,
  });
}

type Kill = {
  readonly pid: number;
  readonly atMs: number;
  readonly answered: number;
  /** Asked for and not answered. */
  readonly cutOff: readonly Order[];
  /** Not yet asked for. */
  readonly waiting: readonly Order[];
};

/**
 * Has the daemon create, kills it, and starts another. Should the kill come just when nothing is under way, it is done
 * once more with what is left.
 */
async function killAmidCreations(stage: Stage, orders: readonly Order[]): Promise<{ kill: Kill; before: Lives }> {
  let waiting = orders;
  let answered = 0;
  for (;;) {
    const kill = await createUntilKilled(stage, waiting);
    answered += kill.answered;
    const before = livesOf(stage.ledger.held);
    await stage.daemon.up();
    if (kill.cutOff.length > 0 || kill.waiting.length === 0) return { kill: { ...kill, answered }, before };
    waiting = kill.waiting;
  }
}

/** Creates several at a time, and kills the daemon right after it was asked for yet another. */
async function createUntilKilled(stage: Stage, orders: readonly Order[]): Promise<Kill> {
  const { daemon } = stage;
  const { pid } = daemon;
  const share = Math.ceil(orders.length / 4);
  const queue = orders.values();
  const cutOff: Order[] = [];
  let answered = 0;
  let atMs: number | undefined;
  const create = async (order: Order): Promise<void> => {
    try {
      await createOne(stage, order);
      answered++;
    } catch (error) {
      if (!(error instanceof CulvertError) || error.code !== 'daemon_unreachable') throw error;
      cutOff.push(order);
    }
  };
  const kill = async (): Promise<void> => {
    atMs = performance.now();
    await daemon.kill();
  };
  const worker = async (): Promise<void> => {
    for (;;) {
      if (atMs !== undefined) return;
      const { value: order, done } = queue.next();
      if (done === true) return;
      const creation = create(order);
      // Whoever comes here first kills. By then the request is written, and it takes the daemon far longer.
      if (answered >= share) await nextTurn();
      if (answered >= share && atMs === undefined) await kill();
      await creation;
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, share) }, worker));
  if (atMs === undefined) throw new Error('Everything was created before the daemon was to be killed');
  return { pid, atMs, answered, cutOff, waiting: [...queue] };
}

/** When what was written is on its way. */
async function nextTurn(): Promise<void> {
  await new Promise((resolve) => void setImmediate(resolve));
}

async function createParallel(stage: Stage, orders: readonly Order[], created: () => void): Promise<void> {
  using progress = stage.narrator.progress('created', orders.length);
  const queue = orders.values();
  let count = 0;
  const worker = async (): Promise<void> => {
    for (const order of queue) {
      await createOne(stage, order);
      created();
      progress.update(++count);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}
