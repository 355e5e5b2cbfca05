import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LabHost } from '../../lab/host.ts';
import { LineProcess } from '../../lab/line-process.ts';
import { createNamespace, removeNamespace } from '../../src/linux/namespace.ts';
import { writeSysctl } from '../../src/linux/sysctl.ts';
import { Culvert } from '../contestants/culvert.ts';
import { ExecAgent } from '../contestants/exec-agent.ts';
import type { Figure } from '../figure.ts';
import type { Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { median, medianRatio } from '../statistics.ts';
import { pause } from '../until.ts';

const run = promisify(execFile);

/** Each server has a port of its own: connections of the last one linger. */
const FIRST_PORT = 7000;
/** Rounds are long here. */
const MAX_ROUNDS = 5;
const CONNECT_ATTEMPTS = 40;
const CONNECT_PAUSE_MS = 50;

/** A way from a sandbox to its host: the namespaces at both ends, and the sandbox's address. */
type Path = { readonly name: string; readonly host: string; readonly sandbox: string; readonly address: string };

/** What packets pass at: the host opens the connections, as it may in all of them. */
export const network: Row = {
  name: 'network',
  summary: 'throughput and round trips from a sandbox to its host, against a bare veth pair and an agent',
  async run({ stage, scale }) {
    using made = new DisposableStack();
    const paths = [
      await culvertPath(stage, made),
      barePath(stage, made),
      await agentPath(made),
      hopPath(stage, made, { name: 'a bare hop', subnet: '10.14.1', tracks: false }),
      hopPath(stage, made, { name: 'a hop that tracks', subnet: '10.14.2', tracks: true }),
    ];
    const rounds = Math.min(scale.rounds, MAX_ROUNDS);
    const seconds = String(scale.streamMs / 1000);
    let port = FIRST_PORT;
    const throughput = await inTurns(paths, rounds, (path) => stream(path, String(port++), seconds));
    const roundTrips = await inTurns(paths, rounds, (path) => pingPong(path, String(port++), seconds));
    return [
      ...figures('throughput, sandbox → host, TCP', 'Gbit/s', paths, throughput),
      ...figures('round trips, sandbox ↔ host, TCP, one at a time', '/s', paths, roundTrips),
    ];
  },
};

async function culvertPath(stage: Stage, made: DisposableStack): Promise<Path> {
  const culvert = made.use(await Culvert.start(stage));
  const [sandbox] = await culvert.client.create({ topology: 'netns' });
  if (sandbox === undefined) throw new Error('The daemon has created nothing');
  const { netns, hostAddress } = sandbox;
  return { name: 'Culvert', host: culvert.host.pin('host'), sandbox: netns, address: hostAddress };
}

function barePath(stage: Stage, made: DisposableStack): Path {
  const lab = made.use(new LabHost());
  const sandbox = join(stage.folder, 'bare');
  createNamespace(sandbox, () => undefined);
  made.defer(() => removeNamespace(sandbox));
  lab.run('host', 'ip', 'link', 'add', 'bare', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', sandbox);
  for (const [where, link, address] of [
    ['host', 'bare', '10.14.0.0/31'],
    [sandbox, 'eth0', '10.14.0.1/31'],
  ] as const) {
    lab.run(where, 'ip', 'address', 'add', address, 'dev', link);
    lab.run(where, 'ip', 'link', 'set', link, 'up');
  }
  return { name: 'bare veth', host: lab.pin('host'), sandbox, address: '10.14.0.1' };
}

type Hop = {
  readonly name: string;
  /** its first three numbers */
  readonly subnet: string;
  /** whether both namespaces follow connections, with one rule that asks for their state */
  readonly tracks: boolean;
};

/** What a namespace on the way costs by itself: it only forwards, and may track connections as any that is stateful does. */
function hopPath(stage: Stage, made: DisposableStack, { name, subnet, tracks }: Hop): Path {
  const lab = made.use(new LabHost());
  const router = join(stage.folder, `hop-${subnet}`);
  const sandbox = join(stage.folder, `behind-${subnet}`);
  for (const pin of [router, sandbox]) {
    createNamespace(pin, () => writeSysctl('net/ipv4/ip_forward', '1'));
    made.defer(() => removeNamespace(pin));
  }
  lab.run('host', 'ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'outer', 'netns', router);
  lab.run(router, 'ip', 'link', 'add', 'inner', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', sandbox);
  for (const [where, link, address] of [
    ['host', 'near', `${subnet}.0/31`],
    [router, 'outer', `${subnet}.1/31`],
    [router, 'inner', `${subnet}.2/31`],
    [sandbox, 'eth0', `${subnet}.3/31`],
  ] as const) {
    lab.run(where, 'ip', 'address', 'add', address, 'dev', link);
    lab.run(where, 'ip', 'link', 'set', link, 'up');
  }
  lab.run('host', 'ip', 'route', 'add', `${subnet}.2/31`, 'via', `${subnet}.1`, 'dev', 'near');
  lab.run(sandbox, 'ip', 'route', 'add', 'default', 'via', `${subnet}.2`, 'dev', 'eth0');
  if (tracks) {
    for (const [where, hook] of [
      ['host', 'input'],
      [router, 'forward'],
    ] as const) {
      const chain = `{ type filter hook ${hook} priority filter; ct state established accept; }`;
      lab.run(where, 'nft', `table ip tracks { chain ${hook} ${chain}; }`);
    }
  }
  return { name, host: lab.pin('host'), sandbox, address: `${subnet}.3` };
}

async function agentPath(made: DisposableStack): Promise<Path> {
  const agent = made.use(new ExecAgent());
  await agent.create(1);
  return { name: agent.name, host: agent.host.pin('host'), sandbox: agent.pin(1), address: '10.12.0.3' };
}

/** A value of each path for each round; who comes first changes from round to round. */
async function inTurns(
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
function stream({ host, sandbox, address }: Path, port: string, seconds: string): Promise<number> {
  const server = ['iperf3', '--server', '--port', port];
  const client = ['iperf3', '--client', address, '--port', port, '--reverse', '--json', '--time', seconds];
  return answer({ sandbox, server, host, client }, (text) => {
    const { end } = JSON.parse(text) as { end: { sum_received?: { bits_per_second: number } } };
    return end.sum_received === undefined ? undefined : end.sum_received.bits_per_second / 1e9;
  });
}

/** Round trips per second, by the median one */
function pingPong({ host, sandbox, address }: Path, port: string, seconds: string): Promise<number> {
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

/** What the ratios to the other paths are to be at least. */
const TARGETS: readonly (number | undefined)[] = [0.9, 1, undefined];

function figures(figure: string, unit: string, paths: readonly Path[], values: readonly number[][]): Figure[] {
  const [ours = [], ...others] = values;
  return others.map((theirs, index): Figure => {
    const bound = TARGETS[index];
    return {
      figure,
      value: median(ours),
      unit,
      reference: { name: paths[index + 1]?.name ?? '', value: median(theirs) },
      ratio: medianRatio(ours, theirs),
      ...(bound === undefined ? {} : { target: { of: 'ratio', is: 'at least', bound } }),
    };
  });
}
