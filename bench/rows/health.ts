import { request } from 'node:http';
import { LineProcess } from '../../lab/line-process.ts';
import { Culvert, DEFAULT_POOL } from '../contestants/culvert.ts';
import { formatNumber } from '../figure.ts';
import type { Row } from '../row.ts';
import { percentile } from '../statistics.ts';
import { pause } from '../until.ts';

const BURST = new URL('../burst.ts', import.meta.url).pathname;

/** ms between an answer and the next request */
const PAUSE_MS = 2;

/** Whether the API answers others while many ask for sandboxes. */
export const health: Row = {
  name: 'health',
  summary: 'latency of GET /healthz during a burst of 1,000 creates',
  async run({ stage, scale }) {
    using culvert = await Culvert.start(stage, { pool: DEFAULT_POOL });
    await culvert.prepare();
    using load = new LineProcess(undefined, process.execPath, [BURST, culvert.socketPath]);
    await load.ask('create 1');
    const over = new AbortController();
    const burst = load.ask(`create ${scale.requests}`).finally(() => over.abort());
    const latenciesMs: number[] = [];
    while (!over.signal.aborted) {
      latenciesMs.push(await askHealth(culvert.socketPath));
      await pause(PAUSE_MS);
    }
    const seconds = Number(await burst) / 1000;
    return [
      {
        figure: `GET /healthz during a burst of ${formatNumber(scale.requests)} creates: p99 of ${latenciesMs.length}`,
        value: percentile(latenciesMs, 0.99),
        unit: 'ms',
        target: { of: 'value', is: 'at most', bound: 20 },
      },
      { figure: 'creates in that burst, 64 requests at a time', value: scale.requests / seconds, unit: '/s' },
    ];
  },
};

/** ms until the whole answer is there, over a connection of its own, as a supervisor asks */
function askHealth(socketPath: string): Promise<number> {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path: '/healthz', agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`GET /healthz answers ${response.statusCode}`));
      response.once('end', () => resolve(performance.now() - begin)).resume();
    });
    outgoing.once('error', reject).end();
  });
}
