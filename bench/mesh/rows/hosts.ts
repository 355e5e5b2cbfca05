import { randomBytes, randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { LabEtcd } from '../../../lab/etcd.ts';
import { LineProcess } from '../../../lab/line-process.ts';
import { parseIpv4 } from '../../../src/addr/ipv4.ts';
import { systemClock } from '../../../src/clock.ts';
import { Member } from '../../../src/cluster/member.ts';
import { openRegistry } from '../../../src/cluster/open.ts';
import { DEFAULT_CLEAR_PORT } from '../../../src/mesh/link.ts';
import { writePublished } from '../../../src/mesh/published.ts';
import { keyOf } from '../../../src/plan/wireguard/key.ts';
import { type Figure, formatNumber } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { percentile } from '../../statistics.ts';
import { pause, until } from '../../until.ts';
import { readEtcdLoad } from '../etcd-load.ts';

const AGENTS = new URL('../agents.ts', import.meta.url).pathname;
const PROCESSES = availableParallelism();
/** Of each process: hosts that are all that a daemon is. */
const WHOLE = 3;
/** MiB of each process */
const HEAP_MAX = 6000;
const PATIENCE_MS = 900_000;
const POLL_MS = 200;
/** Comings and goings of one more. */
const PROBES = 5;
const PROBE_ATTEMPTS = 10;
/** ms between them: more than a follower rests after several in a row */
const PAUSE_MS = 11_000;
const IDLE_MS = 10_000;
const TIMING = { alive_ms: 10_000, hold_ms: 600_000 };

/** s in which all have to know all, by how many there are at the most */
const TARGETS: readonly (readonly [number, number])[] = [
  [1000, 5],
  [5000, 20],
];

type Known = { readonly least: number; readonly joined: number; readonly heard: number; readonly edits: number };
type Joined = { readonly failures: number; readonly endedMs: number };

/** Hosts without a kernel, and a real etcd. */
export const hosts: Row = {
  name: 'hosts',
  summary: 'a thousand hosts join a cluster: until all know all, and what etcd has of it',
  run: ({ scale }) => crowd(scale.hosts),
};

export const manyHosts: Row = {
  name: 'many-hosts',
  summary: 'five thousand hosts join a cluster, which takes minutes',
  run: ({ scale }) => crowd(scale.manyHosts),
};

async function crowd(count: number): Promise<Figure[]> {
  await using opened = new AsyncDisposableStack();
  const etcd = opened.use(await LabEtcd.start({ everywhere: true }));
  const [address = ''] = etcd.endpoints;
  const [, port = ''] = address.split(':');
  const share = count / PROCESSES;
  const processes = Array.from({ length: PROCESSES }, (_, index) => {
    const [first, end] = [Math.floor(index * share), Math.floor((index + 1) * share)];
    const program = [`--max-old-space-size=${HEAP_MAX}`, AGENTS, port, ...[first, end - first, WHOLE].map(String)];
    return opened.use(new LineProcess(undefined, process.execPath, program));
  });
  const ask = async <T>(line: string): Promise<T[]> =>
    (await Promise.all(processes.map((one) => one.ask(line)))).map((answer) => JSON.parse(answer) as T);
  await ask('since 0');
  const beganMs = Date.now();
  const joined = await ask<Joined>('join 0');
  const lastMs = Math.max(...joined.map(({ endedMs }) => endedMs));
  let known: Known[] = [];
  await until(
    'all know all',
    PATIENCE_MS,
    async () => {
      known = await ask<Known>('known');
      return known.every(({ least }) => least === count);
    },
    POLL_MS,
  );
  const settledMs = Date.now();
  const load = await readEtcdLoad(address);
  await until(
    'all are in the cluster',
    PATIENCE_MS,
    async () => {
      const standing = await ask<Known>('known');
      return standing.reduce((sum, one) => sum + one.joined, 0) === count;
    },
    POLL_MS,
  );
  const heard = Math.max(...known.map((one) => one.heard));
  const edits = Math.max(...known.map((one) => one.edits));
  const before = await readEtcdLoad(address);
  await pause(IDLE_MS);
  const after = await readEtcdLoad(address);
  const probes = await probe(`etcd://${address}/bench`, count, ask);
  const all = `${formatNumber(count)} hosts join`;
  const [, bound] = TARGETS.find(([most]) => count <= most) ?? [];
  return [
    {
      figure: `${all}: from the last one's join until all know all`,
      value: (settledMs - lastMs) / 1000,
      unit: 's',
      ...(bound === undefined ? {} : { target: { of: 'value', is: 'at most', bound } }),
    },
    { figure: `${all}: from the first one's beginning until then`, value: (settledMs - beganMs) / 1000, unit: 's' },
    {
      figure: `${all}: edits of peers at each`,
      value: edits,
      unit: '',
      reference: { name: 'others', value: count - 1 },
      ratio: edits / (count - 1),
      target: { of: 'ratio', is: 'at most', bound: 1 },
    },
    { figure: `${all}: changes told to each, at most`, value: heard, unit: '' },
    { figure: `${all}: attempts that failed`, value: joined.reduce((sum, one) => sum + one.failures, 0), unit: '' },
    { figure: `${all}: etcd's processor time`, value: load.cpu_s, unit: 's' },
    { figure: `${all}: etcd's memory`, value: load.rss / 1e6, unit: 'MB' },
    { figure: `${all}: etcd's database`, value: load.database / 1e6, unit: 'MB' },
    { figure: `${all}: requests to etcd`, value: load.requests, unit: '' },
    { figure: `${all}: events that it told watchers`, value: load.events, unit: '' },
    { figure: `${all}: messages that it sent`, value: load.messages, unit: '' },
    { figure: `${all}: bytes that it sent`, value: load.sent / 1e6, unit: 'MB' },
    {
      figure: `${formatNumber(count)} hosts at rest: etcd's share of a processor`,
      value: ((after.cpu_s - before.cpu_s) / (IDLE_MS / 1000)) * 100,
      unit: '%',
    },
    ...probes,
  ];
}

/** One more comes, and goes for good, again and again. */
async function probe(url: string, count: number, ask: (line: string) => Promise<number[][]>): Promise<Figure[]> {
  await using registry = openRegistry({ url }, systemClock());
  const took = { comes: [] as number[], goes: [] as number[] };
  for (let nth = 0; nth < PROBES; nth++) {
    const published = writePublished({
      address: parseIpv4('198.18.0.0'),
      clearPort: DEFAULT_CLEAR_PORT,
      keys: [{ rotation: 0, publicKey: keyOf(randomBytes(32)), port: 51_820 }],
      mtu: 1420,
      isDraining: false,
    });
    const name = `probe${nth}`;
    const session = { id: randomUUID(), place: name };
    const request = { name, identity: randomUUID(), session, version: '0.1.0', mtu: 1420, published };
    const member = await joinAtLast({
      registry,
      request,
      timing: TIMING,
      nowMs: () => performance.now(),
      changed: () => undefined,
      leased: () => undefined,
    });
    took.comes.push(await heardBy(count, member.beganMs, ask));
    const goesMs = Date.now();
    await member.itself.resign();
    took.goes.push(await heardBy(count, goesMs, ask));
    // each by itself, as hosts come and go
    await pause(PAUSE_MS);
  }
  const figure = `one more host among ${formatNumber(count)}`;
  return [
    { figure: `${figure} joins: until all know, p50 of ${PROBES}`, value: percentile(took.comes, 0.5), unit: 'ms' },
    { figure: `${figure} resigns: until all know, p50 of ${PROBES}`, value: percentile(took.goes, 0.5), unit: 'ms' },
  ];
}

/** Where etcd has no time for it, it is tried again, as a daemon that could not start is. */
async function joinAtLast(
  parts: Parameters<typeof Member.join>[0],
): Promise<{ readonly itself: Member; readonly beganMs: number }> {
  for (let left = PROBE_ATTEMPTS; ; left--) {
    const beganMs = Date.now();
    try {
      return { itself: await Member.join(parts), beganMs };
    } catch (error) {
      if (left === 0) throw error;
      await pause(PAUSE_MS);
    }
  }
}

/** ms until the last of all has heard of it */
async function heardBy(count: number, beganMs: number, ask: (line: string) => Promise<number[][]>): Promise<number> {
  let times: number[] = [];
  await until(
    'all have heard of it',
    PATIENCE_MS,
    async () => {
      times = (await ask(`since ${beganMs}`)).flat();
      return times.length === count;
    },
    POLL_MS,
  );
  return Math.max(...times) - beganMs;
}
