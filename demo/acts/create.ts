import { OUTSIDE_ADDRESS } from '../../lab/host.ts';
import { type CreateBody, CulvertError, type SandboxResource } from '../../src/api/client/client.ts';
import { msText } from '../figures.ts';
import { pause, until } from '../pace.ts';
import type { Stage, Topology } from '../stage.ts';

export const TOPOLOGIES: readonly Topology[] = ['microvm', 'netns', 'bridge'];

/** What is asked for. Public addresses only, as by default, and the lab's outside, whose address is for documents. */
const POLICY = { egress: 'internet', allow: [`${OUTSIDE_ADDRESS}/32`] } satisfies CreateBody['policy'];

/** ms: an address of the bridge is given out once the wire was asked about it (RFC 5227), which takes up to 7 s */
const BRIDGE_PATIENCE_MS = 20_000;
const WARM_PATIENCE_MS = 30_000;
const POLL_MS = 20;

/** The `index`-th sandbox that the demo creates; the topologies take turns. */
export type Order = { readonly id: string; readonly topology: Topology };

export function orderOf(index: number): Order {
  const topology = TOPOLOGIES[index % TOPOLOGIES.length] as Topology;
  return { id: `${topology}-${Math.floor(index / TOPOLOGIES.length) + 1}`, topology };
}

/** Creates a sandbox, and takes note of it. Returns how long the answer took, in ms. */
export async function createOne({ daemon, ledger }: Stage, { id, topology }: Order): Promise<number> {
  const deadline = performance.now() + BRIDGE_PATIENCE_MS;
  for (;;) {
    const begin = performance.now();
    try {
      const [sandbox] = await daemon.client.create({ id, topology, policy: POLICY });
      const tookMs = performance.now() - begin;
      ledger.handOut(sandbox as SandboxResource);
      return tookMs;
    } catch (error) {
      if (!(error instanceof CulvertError) || error.code !== 'bridge_exhausted' || begin > deadline) throw error;
      await pause(POLL_MS);
    }
  }
}

/** Creates sandboxes one after the other, none of which is ready beforehand. */
export async function createCold(stage: Stage, orders: readonly Order[]): Promise<void> {
  const { narrator, figures } = stage;
  narrator.act(`Create ${orders.length} sandboxes of three topologies, each from nothing`);
  const times = await createAll(stage, orders, async () => undefined);
  figures.addTimes('cold create', times, 'through the API, without a pool');
}

/** Creates sandboxes one after the other, each out of the pool. */
export async function createWarm(stage: Stage, orders: readonly Order[]): Promise<void> {
  const { narrator, figures, daemon } = stage;
  narrator.act(`Create ${orders.length} more out of the warm pool, which the new daemon keeps as by default`);
  const times = await createAll(stage, orders, async ({ topology }) => {
    const isWarm = async (): Promise<boolean> => (await daemon.client.status()).warm[topology] > 0;
    await until(isWarm, WARM_PATIENCE_MS, `a warm ${topology} network`);
  });
  figures.addTimes('warm create', times, 'through the API, out of the pool');
}

async function createAll(
  stage: Stage,
  orders: readonly Order[],
  prepare: (order: Order) => Promise<void>,
): Promise<number[]> {
  const times: number[] = [];
  {
    using progress = stage.narrator.progress('created', orders.length);
    for (const order of orders) {
      await prepare(order);
      times.push(await createOne(stage, order));
      progress.update(times.length);
    }
  }
  const whole = times.reduce((sum, time) => sum + time, 0);
  const kinds = TOPOLOGIES.map((kind) => `${orders.filter(({ topology }) => topology === kind).length} ${kind}`);
  stage.narrator.say(`${kinds.join(', ')}, one after the other, in ${msText(whole)}`);
  return times;
}
