import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { OUTSIDE_ADDRESS } from '../../lab/host.ts';
import type { Culvert } from '../contestants/culvert.ts';
import { formatNumber } from '../figure.ts';
import { ProcessorTime, threadTimes } from '../processor-time.ts';
import type { Row } from '../row.ts';
import { pause } from '../until.ts';

const run = promisify(execFile);

/** ms between packets, and how long they go on: from before the end of the old daemon until after the new one is done */
const PACKET_INTERVAL_MS = 5;
const PACKETS_MS = 10_000;
/** ms that packets flow undisturbed first */
const HEAD_START_MS = 500;

/** A daemon that ends as in a crash, and the one that takes its sandboxes over while packets flow. */
export const restart: Row = {
  name: 'restart',
  summary: 'a restart with 10,000 live: creating again, all verified, no packet lost',
  async run({ scale, crowd, profile }) {
    const { culvert } = await crowd();
    const lost = await startPackets(culvert);
    await pause(HEAD_START_MS);
    const before = threadTimes(culvert.pid);
    const begin = performance.now();
    await culvert.kill();
    await culvert.up();
    const servingMs = performance.now() - begin;
    await culvert.create(1);
    const creatingMs = performance.now() - begin;
    await culvert.adopted();
    const adoptedMs = performance.now() - begin;
    const figure = `restart after SIGKILL with ${formatNumber(scale.many)} live`;
    const spent = new ProcessorTime();
    spent.add(before, threadTimes(culvert.pid));
    profile({ of: `${figure}, until all are verified`, unit: 'ms', elapsed: adoptedMs, threads: spent.times(1) });
    return [
      { figure: `${figure}: until it serves`, value: servingMs / 1000, unit: 's' },
      {
        figure: `${figure}: until a create is done`,
        value: creatingMs / 1000,
        unit: 's',
        target: { of: 'value', is: 'at most', bound: 1 },
      },
      {
        figure: `${figure}: until all are verified`,
        value: adoptedMs / 1000,
        unit: 's',
        target: { of: 'value', is: 'at most', bound: 3 },
      },
      {
        figure: `${figure}: packets lost of those a sandbox sent meanwhile`,
        value: await lost(),
        unit: '',
        target: { of: 'value', is: 'at most', bound: 0 },
      },
    ];
  },
};

/** Lets a sandbox talk to the outside; the function that comes back waits for the end and says how many went unanswered. */
async function startPackets({ client }: Culvert): Promise<() => Promise<number>> {
  const policy = { egress: 'open' } as const;
  const [sandbox] = await client.create({ topology: 'netns', policy });
  if (sandbox === undefined) throw new Error('The daemon has created nothing');
  const count = PACKETS_MS / PACKET_INTERVAL_MS;
  const ping = ['ping', '-n', '-i', String(PACKET_INTERVAL_MS / 1000), '-c', String(count)];
  const finished = run('nsenter', [`--net=${sandbox.netns}`, ...ping, OUTSIDE_ADDRESS]);
  // ping ends with 1 where nothing came back at all; that is told when it is waited for
  finished.catch(() => undefined);
  return async () => {
    const { stdout } = await finished;
    const answered = new Set([...stdout.matchAll(/ icmp_seq=(\d+) .*time=/g)].map(([, sequence]) => Number(sequence)));
    if (answered.size === 0) throw new Error(`Cannot read what ping says: ${stdout}`);
    // ping waits no longer for the last than from one to the next, which proves nothing
    answered.delete(count);
    return count - 1 - answered.size;
  };
}
