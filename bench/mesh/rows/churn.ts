import { loadavg } from 'node:os';
import type { Figure } from '../../figure.ts';
import { countHoldings, growthOf, type Holdings } from '../../leftovers.ts';
import type { Row } from '../../row.ts';
import { percentile } from '../../statistics.ts';
import { pause, until } from '../../until.ts';
import { idleShare, readTicks } from '../idle-time.ts';
import { type Carried, LastingTraffic } from '../lasting-traffic.ts';
import { MeshCluster, type Placed } from '../mesh-cluster.ts';
import { TurnOver } from '../turn-over.ts';

const HOSTS = 5;
const POOL = { microvm: 6, netns: 4, bridge: 2 };
/** ms between two switches */
const SWITCH_EVERY_MS = 30_000;
/** So many there are at the least, in a run that is short. */
const SWITCHES_MIN = 3;
const SETTLE_MS = 60_000;
const POLL_MS = 50;
/** Creates a second by which it is found what one costs. */
const FIRST_RATE = 10;
const RATES = { min: 2, max: 200 };
/** of the processors' time */
const IDLE_SHARE = 0.5;
/** How often the rate is put right by what was measured at the one before. */
const ROUNDS = 3;
const MEASURE_MS = 5000;

/**
 * Five hosts whose sandboxes come and go, while encryption is switched and others talk:
 *
 *     h1 ══ IP packets of the full size ══ h2      h3 ══ TCP ══ h4      h5
 */
export const churn: Row = {
  name: 'churn',
  summary:
    'creates and removes on five hosts while encryption is switched and others talk, with nothing lost or leaked',
  async run({ scale }) {
    await using opened = new AsyncDisposableStack();
    const cluster = opened.use(await MeshCluster.start(HOSTS, { pool: POOL }));
    const lasting = await Promise.all(
      [0, 1, 2, 3].map((index) =>
        cluster.create(index, { id: `lasting-${index}`, topology: 'netns', group: 'lasting' }),
      ),
    );
    const [one, other, caller, called] = lasting as [Placed, Placed, Placed, Placed];
    const traffic = opened.use(await LastingTraffic.start([one, other], [caller, called]));
    // what stands beside the encrypted way once it was switched is no leak
    const took = [await cluster.change(0, { encrypts: false }), await cluster.change(1, { encrypts: true })];
    await settled(cluster);
    const before = await holdingsOf(cluster);
    const turnOver = new TurnOver(cluster.daemons);
    await traffic.go();
    const { rate, restShare } = await findRate(turnOver);
    const began = { cycles: turnOver.cycles, ms: performance.now(), ticks: readTicks() };
    const everyMs = Math.min(SWITCH_EVERY_MS, scale.meshChurnMs / SWITCHES_MIN);
    for (let nth = 0; performance.now() - began.ms < scale.meshChurnMs; nth++) {
      const nextMs = began.ms + (nth + 1) * everyMs;
      const daemon = cluster.daemon(nth % HOSTS);
      const begin = performance.now();
      await daemon.command('mesh', 'encrypt', nth % 2 === 0 ? 'off' : 'on', '--wait');
      took.push(performance.now() - begin);
      await pause(Math.max(0, nextMs - performance.now()));
    }
    const seconds = (performance.now() - began.ms) / 1000;
    const cycles = turnOver.cycles - began.cycles;
    const idle = idleShare(began.ticks, readTicks());
    const [load = 0] = loadavg();
    await turnOver.end();
    await cluster.change(0, { encrypts: true });
    const carried = await traffic.rest();
    await settled(cluster);
    const leaked = growth(before, await holdingsOf(cluster));
    const mismatches = await differences(cluster);
    const problems = await problemsOf(cluster);
    for (const line of [...turnOver.failures, ...leaked, ...mismatches, ...problems, ...carried.errors]) say(line);
    const what = `${HOSTS} hosts for ${Math.round(seconds)} s`;
    return [
      { figure: `${what}: creates with as many removes, on all of them`, value: cycles / seconds, unit: '/s' },
      { figure: `${what}: processors idle meanwhile, of both`, value: idle * 100, unit: '%' },
      { figure: `${what}: of them idle before sandboxes came and went`, value: restShare * 100, unit: '%' },
      { figure: `${what}: load average at the end`, value: load, unit: '' },
      { figure: `${what}: the rate that was aimed for`, value: rate, unit: '/s' },
      none(`${what}: creates and removes that failed, of ${2 * cycles}`, turnOver.failed),
      none(`${what}: differences between leases and kernel afterwards`, mismatches.length),
      none(`${what}: kinds of things there are more of afterwards`, leaked.length),
      none(`${what}: problems that a daemon tells of afterwards`, problems.length),
      ...lossOf(what, carried),
      {
        figure: `${what}: encryption switched ${took.length} times, from the command until it returns: p50`,
        value: percentile(took, 0.5) / 1000,
        unit: 's',
      },
      { figure: `${what}: the same: p95`, value: percentile(took, 0.95) / 1000, unit: 's' },
    ] satisfies Figure[];
  },
};

function none(figure: string, value: number): Figure {
  return { figure, value, unit: '', target: { of: 'value', is: 'at most', bound: 0 } };
}

function lossOf(what: string, { sent, lost, dropped, refused, bytes, missing, errors }: Carried): Figure[] {
  const full = [...dropped.values()].reduce((sum, count) => sum + count, 0);
  const queues = [...dropped].map(([queue, count]) => `${count} in ${queue}`).join(', ');
  return [
    none(
      `${what}: IP packets of the full size that were lost, of ${sent}, no queue having been full`,
      Math.max(0, lost - full) + refused.length,
    ),
    {
      figure: `${what}: packets of whatever kind that found a queue full${queues === '' ? '' : ` (${queues})`}`,
      value: full,
      unit: '',
    },
    none(
      `${what}: errors of a TCP connection that carried ${Math.round(bytes / 1e6)} MB, or bytes missing`,
      errors.length + missing,
    ),
  ];
}

/** So many creates a second that half of the processors' time is left. */
async function findRate(turnOver: TurnOver): Promise<{ rate: number; restShare: number }> {
  const measure = async (rate: number): Promise<{ idle: number; rate: number }> => {
    turnOver.pace(rate);
    const [ticks, cycles, ms] = [readTicks(), turnOver.cycles, performance.now()];
    await pause(MEASURE_MS);
    const elapsed_s = (performance.now() - ms) / 1000;
    return { idle: idleShare(ticks, readTicks()), rate: (turnOver.cycles - cycles) / elapsed_s };
  };
  const { idle: restShare } = await measure(0);
  let rate = FIRST_RATE;
  for (let round = 0; round < ROUNDS; round++) {
    const at = await measure(rate);
    const cost = (restShare - at.idle) / Math.max(at.rate, 1);
    const next = cost > 0 ? (restShare - IDLE_SHARE) / cost : RATES.max;
    // one measurement says little of what is far away
    rate = Math.min(Math.max(next, RATES.min, rate / 2), RATES.max, 3 * rate);
  }
  turnOver.pace(rate);
  return { rate, restShare };
}

async function settled({ daemons }: MeshCluster): Promise<void> {
  await until(
    'nothing is being removed and all pools are full',
    SETTLE_MS,
    async () => {
      const all = await Promise.all(daemons.map(({ client }) => client.status()));
      return all.every(({ removing, quarantined, warm }) => {
        const isFull = (['microvm', 'netns', 'bridge'] as const).every((topology) => warm[topology] === POOL[topology]);
        return removing === 0 && quarantined === 0 && isFull;
      });
    },
    POLL_MS,
  );
}

/** What each host has, and how many members etcd. */
async function holdingsOf({ daemons, etcd }: MeshCluster): Promise<ReadonlyMap<string, Holdings>> {
  const all = new Map<string, Holdings>();
  for (const { client, pid, pins, place } of daemons) {
    all.set(place.name, await countHoldings({ client, pid, pins, root: place.pin }));
  }
  const keys = etcd.control('get', '--prefix', '', '--keys-only').split('\n').filter(Boolean);
  return all.set('etcd', { keys: keys.length });
}

function growth(before: ReadonlyMap<string, Holdings>, after: ReadonlyMap<string, Holdings>): string[] {
  return [...after].flatMap(([name, holdings]) => {
    return growthOf(before.get(name) ?? {}, holdings).map((more) => `${name}: ${more}`);
  });
}

/** What `culvert reconcile --dry-run` prints on each host. */
async function differences({ daemons }: MeshCluster): Promise<string[]> {
  const all = await Promise.all(
    daemons.map(async ({ client, place }) => {
      const { plan } = await client.reconcile({ dryRun: true });
      return plan.map((line) => `${place.name}: ${line}`);
    }),
  );
  return all.flat();
}

async function problemsOf({ daemons }: MeshCluster): Promise<string[]> {
  const all = await Promise.all(
    daemons.map(async ({ client, place }) => {
      const { problems } = await client.status();
      return problems.map(({ code, message }) => `${place.name}: ${code}: ${message}`);
    }),
  );
  return all.flat();
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
