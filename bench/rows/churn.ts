import type { SandboxResource } from '../../src/api/client/client.ts';
import { Connection, jsonRequest } from '../connection.ts';
import { Culvert, DEFAULT_POOL } from '../contestants/culvert.ts';
import { KernelLimit } from '../contestants/kernel-limit.ts';
import type { Figure } from '../figure.ts';
import { countHoldings, growthOf } from '../leftovers.ts';
import type { Row } from '../row.ts';

const TOPOLOGIES = ['microvm', 'netns', 'bridge'] as const;
/** sandboxes of each topology that are live at a time */
const LIVE_OF_EACH = 200;
/** requests at a time */
const WORKERS = 16;
/** Room for those that rest in quarantine. */
const BRIDGE_RANGE = '10.8.64.0/22';
const PATH = '/v1/sandboxes';

/** Creates and removes for a minute, all topologies alike, and counts what is left afterwards. */
export const churn: Row = {
  name: 'churn',
  summary: 'creates and removes, mixed topologies, sustained, with nothing leaked',
  async run({ stage, scale, profile }) {
    using culvert = await Culvert.start(stage, { pool: DEFAULT_POOL, bridgeRange: BRIDGE_RANGE });
    await culvert.practise(scale.practice);
    await settled(culvert);
    const holder = { client: culvert.client, pid: culvert.pid, pins: culvert.pin('.'), root: culvert.host.pin('host') };
    const before = await countHoldings(holder);
    await culvert.prepare();
    const { cycles, elapsedMs, live } = await turnOver(culvert.socketPath, scale.churnMs);
    culvert.finish();
    profile({
      of: 'churn: a create and a remove',
      unit: 'µs',
      elapsed: (elapsedMs * 1000) / cycles,
      threads: culvert.spent.times(1000 / cycles),
    });
    await culvert.client.remove(live);
    await settled(culvert);
    const leaked = growthOf(before, await countHoldings(holder));
    const { mtu } = await culvert.client.status();
    await stage.cleanedUp();
    using kernel = new KernelLimit(stage, { mtu });
    const limit = await kernel.turnOver(live.length, scale.churnMs / 3);
    profile(limit.profile);
    const rate = (cycles * 1000) / elapsedMs;
    const what = leaked.length === 0 ? '' : ` (${leaked.join(', ')})`;
    return [
      {
        figure: `churn for ${scale.churnMs / 1000} s: creates with as many removes, ${3 * LIVE_OF_EACH} live`,
        value: rate,
        unit: '/s',
        target: { of: 'value', is: 'at least', bound: 500 },
      },
      {
        figure: 'the same, against routed networks from C, a third with a TAP',
        value: rate,
        unit: '/s',
        reference: { name: kernel.name, value: limit.rate },
        ratio: rate / limit.rate,
      },
      {
        figure: `kinds of things there are more of than before the churn${what}`,
        value: leaked.length,
        unit: '',
        target: { of: 'value', is: 'at most', bound: 0 },
      },
    ] satisfies Figure[];
  },
};

/** One request for each create and each remove; the oldest of a topology goes when there are enough. */
async function turnOver(
  socketPath: string,
  durationMs: number,
): Promise<{ cycles: number; elapsedMs: number; live: string[] }> {
  const live = TOPOLOGIES.map((topology) => ({ topology, ids: [] as string[] }));
  let cycles = 0;
  let next = 0;
  const begin = performance.now();
  const worker = async (): Promise<void> => {
    using connection = await Connection.open(socketPath);
    while (performance.now() - begin < durationMs) {
      const one = live[next++ % live.length];
      if (one === undefined) return;
      const oldest = one.ids.length + WORKERS > LIVE_OF_EACH ? one.ids.shift() : undefined;
      if (oldest !== undefined) await connection.ask(jsonRequest('DELETE', PATH, { ids: [oldest] }));
      const answer = await connection.ask(jsonRequest('POST', PATH, { topology: one.topology }));
      one.ids.push(...(JSON.parse(answer) as { sandboxes: SandboxResource[] }).sandboxes.map(({ id }) => id));
      if (oldest !== undefined) cycles++;
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  return { cycles, elapsedMs: performance.now() - begin, live: live.flatMap(({ ids }) => ids) };
}

/** Nothing is being removed or rests, and the pool is full. */
async function settled(culvert: Culvert): Promise<void> {
  await culvert.prepare();
  await culvert.settled();
  await culvert.prepare();
}
