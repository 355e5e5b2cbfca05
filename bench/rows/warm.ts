import { Connection, getRequest, jsonRequest } from '../connection.ts';
import { growTo } from '../contestants/creator.ts';
import { Culvert, DEFAULT_POOL } from '../contestants/culvert.ts';
import type { Figure } from '../figure.ts';
import type { Row } from '../row.ts';
import { mean, percentile } from '../statistics.ts';
import { pause } from '../until.ts';

/** ms on average between an answer and the next request: about twice what the largest platforms need */
const MEAN_PAUSE_MS = 9;
/** ms after the pool is full, until what filled it is at rest */
const SETTLED_MS = 50;

/** Fewer than have to be missing from the pool before it is filled up, so that none meets the filling. */
const BURST = 12;

/** Latency of single creates that the pool serves, refilled meanwhile as it is in real life, and of bursts of them. */
export const warm: Row = {
  name: 'warm',
  summary: 'latency of a create from the warm pool, through the HTTP API',
  async run({ stage, scale, profile }) {
    using culvert = await Culvert.start(stage, { pool: DEFAULT_POOL });
    await culvert.practise(scale.practice, 1);
    await growTo(culvert, scale.some);
    using connection = await Connection.open(culvert.socketPath);
    const request = jsonRequest('POST', '/v1/sandboxes', { topology: 'microvm' });
    const create = (): Promise<string> => connection.ask(request);
    await culvert.prepare();
    const overHttpMs = await latencies(scale.requests, create);
    culvert.finish();
    const figure = `create from the warm pool, HTTP API, one at a time, at ${scale.some} live and more`;
    profile({
      of: 'a create from the warm pool, with what is done in the pauses',
      unit: 'µs',
      elapsed: mean(overHttpMs) * 1000,
      threads: culvert.spent.times(1000 / scale.requests),
    });
    const inBurstsMs: number[] = [];
    while (inBurstsMs.length < scale.requests / 2) {
      await culvert.prepare();
      await pause(SETTLED_MS);
      for (let nth = 0; nth < BURST; nth++) inBurstsMs.push(await timed(create));
    }
    const others: Figure[] = [];
    for (const path of ['/healthz', '/v1/status']) {
      const ask = connection.ask.bind(connection, getRequest(path));
      const paused = percentile(await latencies(scale.requests / 2, ask), 0.5);
      const unpaused = percentile(await latencies(scale.requests / 2, ask, 0), 0.5);
      others.push(
        { figure: `GET ${path}, one at a time: p50`, value: paused, unit: 'ms' },
        { figure: `GET ${path}, without a pause: p50`, value: unpaused, unit: 'ms' },
      );
    }
    const byClientMs = await latencies(scale.requests / 2, () => culvert.client.create({ topology: 'microvm' }));
    return [
      ...against(figure, overHttpMs),
      ...against(`the same, the first ${BURST} from a full pool, without a pause`, inBurstsMs),
      {
        figure: 'one at a time with the typed client, its own time included: p50',
        value: percentile(byClientMs, 0.5),
        unit: 'ms',
      },
      ...others,
    ];
  },
};

function against(figure: string, latenciesMs: readonly number[]): Figure[] {
  const bounds = [
    { name: 'p50', share: 0.5, bound: 1 },
    { name: 'p99', share: 0.99, bound: 5 },
  ];
  return bounds.map(({ name, share, bound }) => ({
    figure: `${figure}: ${name}`,
    value: percentile(latenciesMs, share),
    unit: 'ms',
    target: { of: 'value', is: 'at most', bound },
  }));
}

async function latencies(
  count: number,
  create: () => Promise<unknown>,
  meanPause_ms = MEAN_PAUSE_MS,
): Promise<number[]> {
  const latenciesMs: number[] = [];
  for (let request = 0; request < count; request++) {
    latenciesMs.push(await timed(create));
    // Exponential, so that requests meet every phase of what the daemon does in between.
    if (meanPause_ms > 0) await pause(-Math.log(1 - Math.random()) * meanPause_ms);
  }
  return latenciesMs;
}

async function timed(create: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await create();
  return performance.now() - begin;
}
