import { loadavg } from 'node:os';
import { Pinging } from '../../../lab/pinging.ts';
import { WireWatch } from '../../../lab/wire-watch.ts';
import type { Figure } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { percentile } from '../../statistics.ts';
import { pause } from '../../until.ts';
import { idleShare, readTicks } from '../idle-time.ts';
import { LastingTraffic } from '../lasting-traffic.ts';
import { MeshCluster, type Placed } from '../mesh-cluster.ts';

const HOSTS = 3;
/** ms between two switches, in which nothing is changed */
const STABLE_MS = 700;

/**
 * Three hosts that switch encryption, while each pings the next one with packets of the full size that may not be
 * fragmented, and whoever is on the wire listens:
 *
 *     h1 ── ping ─▶ h2 ── ping ─▶ h3 ── ping ─▶ h1        h1 ══ TCP, and IP packets of the full size ══ h2
 */
export const switching: Row = {
  name: 'switch',
  summary: 'encryption is switched again and again under load: how long it takes, and what is lost or to be read',
  async run({ scale }) {
    await using opened = new AsyncDisposableStack();
    const cluster = opened.use(await MeshCluster.start(HOSTS));
    const placed = await Promise.all(
      [0, 1, 2].map((index) => cluster.create(index, { id: `s${index}`, topology: 'netns', group: 'all' })),
    );
    const [one, two, three] = placed as [Placed, Placed, Placed];
    const traffic = opened.use(await LastingTraffic.start([one, two], [one, two]));
    const wire = opened.use(await WireWatch.start(cluster.underlay));
    const pings = (
      [
        [one, two],
        [two, three],
        [three, one],
      ] as const
    ).map(([{ sandbox }, to]) => opened.use(new Pinging(sandbox.netns, to.sandbox.hostAddress, sandbox.mtu)));
    await Promise.all(pings.map((pinging) => pinging.replies(1)));
    await traffic.go();
    const took: number[] = [];
    const sizes = new Set<number>(await sizesOf(cluster, placed));
    let [readable, readableInClear] = [0, 0];
    const ticks = readTicks();
    for (let nth = 0; nth < scale.switches; nth++) {
      const encrypts = nth % 2 === 1;
      took.push(await cluster.change(nth % HOSTS, { encrypts }));
      const fromMs = Date.now();
      for (const size of await sizesOf(cluster, placed)) sizes.add(size);
      await pause(STABLE_MS);
      const toMs = Date.now();
      const heard = (await wire.seen()).filter(({ atMs }) => atMs > fromMs && atMs < toMs).length;
      if (encrypts) readable += heard;
      else readableInClear += heard;
    }
    const idle = idleShare(ticks, readTicks());
    const [load = 0] = loadavg();
    const carried = await traffic.rest();
    const pinged = await Promise.all(pings.map((pinging) => pinging.stop()));
    const missed = await wire.end();
    const sent = pinged.reduce((sum, { replies, lost }) => sum + replies + lost, 0);
    const full = [...carried.dropped.values()].reduce((sum, count) => sum + count, 0);
    const what = `encryption switched ${took.length} times`;
    return [
      none(
        `${what}: pings of the full size that were lost, of ${sent}`,
        pinged.reduce((sum, { lost }) => sum + lost, 0),
      ),
      none(
        `${what}: other IP packets of the full size that were lost, of ${carried.sent}`,
        carried.lost + carried.refused.length,
      ),
      { figure: `${what}: packets of whatever kind that found a queue full`, value: full, unit: '' },
      none(
        `${what}: errors of a TCP connection that carried ${Math.round(carried.bytes / 1e6)} MB, or bytes missing`,
        carried.errors.length + carried.missing,
      ),
      none(`${what}: packets to be read on the wire while all is encrypted`, readable),
      {
        figure: `${what}: the same while all is in clear`,
        value: readableInClear,
        unit: '',
        target: { of: 'value', is: 'at least', bound: 1 },
      },
      none(`${what}: packets that tcpdump was too slow for`, missed),
      {
        figure: `${what}: sizes that links and paths of all hosts have, between switches`,
        value: sizes.size,
        unit: '',
        target: { of: 'value', is: 'at most', bound: 1 },
      },
      {
        figure: `${what}: from the wish until all hosts are there: p50`,
        value: percentile(took, 0.5) / 1000,
        unit: 's',
      },
      {
        figure: `${what}: the same: p95`,
        value: percentile(took, 0.95) / 1000,
        unit: 's',
        target: { of: 'value', is: 'at most', bound: 3 },
      },
      { figure: `${what}: processors idle meanwhile, of both`, value: idle * 100, unit: '%' },
      { figure: `${what}: load average at the end`, value: load, unit: '' },
    ] satisfies Figure[];
  },
};

function none(figure: string, value: number): Figure {
  return { figure, value, unit: '', target: { of: 'value', is: 'at most', bound: 0 } };
}

type Link = { readonly ifname: string; readonly mtu: number };

/** bytes: of the links of sandboxes and of hosts' routers, and of the paths between hosts where one is known. */
async function sizesOf({ underlay, daemons }: MeshCluster, placed: readonly Placed[]): Promise<number[]> {
  const pins = [...placed.map(({ sandbox }) => sandbox.netns), ...daemons.map(({ router }) => router)];
  const links = pins.flatMap((pin) => JSON.parse(underlay.run(pin, 'ip', '-j', 'link')) as Link[]);
  const meshes = await Promise.all(daemons.map(({ client }) => client.mesh()));
  const paths = meshes.flatMap(({ peers }) => peers.flatMap(({ pathMtu, pathMtuBack }) => [pathMtu, pathMtuBack]));
  return [
    ...links.filter(({ ifname }) => ifname !== 'lo').map(({ mtu }) => mtu),
    ...paths.filter((size) => size !== undefined),
  ];
}
