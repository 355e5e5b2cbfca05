import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LineProcess } from '../lab/line-process.ts';
import { pause } from './until.ts';

const run = promisify(execFile);

const CONNECT_ATTEMPTS = 40;
const CONNECT_PAUSE_MS = 50;

/**
 * A way to a sandbox from its host, or from another sandbox: the namespaces at both ends, and the address of the one that
 * is listened in.
 */
export type Path = { readonly name: string; readonly host: string; readonly sandbox: string; readonly address: string };

/** A value of each path for each round; who comes first changes from round to round. */
export async function inTurns(
  paths: readonly Path[],
  rounds: number,
  measure: (path: Path) => Promise<number>,
): Promise<number[][]> {
  const values: number[][] = paths.map(() => []);
  for (let turn = 0; turn < rounds * paths.length; turn++) {
    const index = (turn + Math.floor(turn / paths.length)) % paths.length;
    const path = paths[index];
    if (path !== undefined) values[index]?.push(await measure(path));
  }
  return values;
}

/** Gbit/s that the host receives */
export function stream({ host, sandbox, address }: Path, port: string, seconds: string): Promise<number> {
  const server = ['iperf3', '--server', '--port', port];
  const client = ['iperf3', '--client', address, '--port', port, '--reverse', '--json', '--time', seconds];
  return answer({ sandbox, server, host, client }, (text) => {
    const { end } = JSON.parse(text) as { end: { sum_received?: { bits_per_second: number } } };
    return end.sum_received === undefined ? undefined : end.sum_received.bits_per_second / 1e9;
  });
}

/** Round trips per second, by the median one */
export function pingPong({ host, sandbox, address }: Path, port: string, seconds: string): Promise<number> {
  const target = ['--tcp', '-i', address, '-p', port];
  const server = ['sockperf', 'server', ...target];
  const client = ['sockperf', 'ping-pong', ...target, '--full-rtt', '-t', seconds];
  return answer({ sandbox, server, host, client }, (text) => {
    const [, roundTrip_us] = /percentile 50\.000 = +([\d.]+)/.exec(text) ?? [];
    return roundTrip_us === undefined ? undefined : 1e6 / Number(roundTrip_us);
  });
}

type Pair = {
  readonly sandbox: string;
  readonly server: readonly string[];
  readonly host: string;
  readonly client: readonly string[];
};

/** What a client measures; it is run again while its server does not listen yet. */
async function answer(pair: Pair, read: (text: string) => number | undefined): Promise<number> {
  const [program = '', ...parameters] = pair.server;
  using servers = new DisposableStack();
  servers.use(new LineProcess(pair.sandbox, program, parameters));
  let failure: unknown;
  for (let attempt = 0; attempt < CONNECT_ATTEMPTS; attempt++) {
    try {
      const { stdout } = await run('nsenter', [`--net=${pair.host}`, ...pair.client]);
      const value = read(stdout);
      if (value !== undefined) return value;
      failure = stdout;
    } catch (error) {
      failure = error;
    }
    await pause(CONNECT_PAUSE_MS);
  }
  throw new Error(`Cannot measure with ${pair.client.join(' ')}`, { cause: failure });
}
