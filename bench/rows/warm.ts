import { Connection, getRequest, jsonRequest } from '../connection.ts';
import { growTo } from '../contestants/creator.ts';
import { Culvert, DEFAULT_POOL } from '../contestants/culvert.ts';
import type { Figure } from '../figure.ts';
import type { Row } from '../row.ts';
import { percentile } from '../statistics.ts';
import { pause } from '../until.ts';

/** ms on average between an answer and the next request: about twice what the largest platforms need */
const MEAN_PAUSE_MS = 9;

/** Latency of single creates that the pool serves, refilled meanwhile as it is in real life. */
export const warm: Row = {
  name: 'warm',
  summary: 'latency of a create from the warm pool, through the HTTP API',
  async run({ stage, scale }) {
    using culvert = await Culvert.start(stage, { pool: DEFAULT_POOL });
    await growTo(culvert, scale.some);
    await culvert.prepare();
    using connection = await Connection.open(culvert.socketPath);
    const request = jsonRequest('POST', '/v1/sandboxes', { topology: 'microvm' });
    const overHttpMs = await latencies(scale.requests, () => connection.ask(request));
    const asks = ['/healthz', '/v1/status'].map((path) => ({ path, bytes: getRequest(path) }));
    const others: Figure[] = [];
    for (const { path, bytes } of asks) {
      const value = percentile(await latencies(scale.requests / 2, () => connection.ask(bytes)), 0.5);
      others.push({ figure: `GET ${path}, asked in the same way: p50`, value, unit: 'ms' });
    }
    const byClientMs = await latencies(scale.requests / 2, () => culvert.client.create({ topology: 'microvm' }));
    const figure = `create from the warm pool, HTTP API, one at a time, at ${scale.some} live and more`;
    return [
      {
        figure: `${figure}: p50`,
        value: percentile(overHttpMs, 0.5),
        unit: 'ms',
        target: { of: 'value', is: 'at most', bound: 1 },
      },
      {
        figure: `${figure}: p99`,
        value: percentile(overHttpMs, 0.99),
        unit: 'ms',
        target: { of: 'value', is: 'at most', bound: 5 },
      },
      {
        figure: 'the same with the typed client, its own time included: p50',
        value: percentile(byClientMs, 0.5),
        unit: 'ms',
      },
      ...others,
    ];
  },
};

async function latencies(count: number, create: () => Promise<unknown>): Promise<number[]> {
  const latenciesMs: number[] = [];
  for (let request = 0; request < count; request++) {
    const begin = performance.now();
    await create();
    latenciesMs.push(performance.now() - begin);
    // Exponential, so that requests meet every phase of what the daemon does in between.
    await pause(-Math.log(1 - Math.random()) * MEAN_PAUSE_MS);
  }
  return latenciesMs;
}
