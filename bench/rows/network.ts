import { join } from 'node:path';
import { LabHost } from '../../lab/host.ts';
import { createNamespace, removeNamespace } from '../../src/linux/namespace.ts';
import { writeSysctl } from '../../src/linux/sysctl.ts';
import { Culvert } from '../contestants/culvert.ts';
import { ExecAgent } from '../contestants/exec-agent.ts';
import type { Figure } from '../figure.ts';
import type { Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { median, medianRatio } from '../statistics.ts';
import { inTurns, type Path, pingPong, stream } from '../traffic.ts';

/** Each server has a port of its own: connections of the last one linger. */
const FIRST_PORT = 7000;
/** Rounds are long here. */
const MAX_ROUNDS = 5;

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
