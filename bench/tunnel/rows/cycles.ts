import { chosenSeed, SEED } from '../../../lab/random.ts';
import { Vpn } from '../../../lab/vpn.ts';
import { type ConnectTimes, type Cycle, VpnCycles, type VpnHoldings } from '../../../lab/vpn-cycles.ts';
import { availableWireguard } from '../../../src/linux/wireguard/available.ts';
import type { Figure } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { median, percentile } from '../../statistics.ts';

/** ms, by who makes the device */
const MOST = { kernel: 300, userspace: 1500 };
/** How many there are to be, in place of those of the scale: an emulated machine takes long for each. */
const COUNT = 'CULVERT_CYCLES';
/** How often it is compared what there is with what there was. */
const COMPARED_EVERY = 100;

/**
 * Clients that are killed at any moment of connecting, or when they are connected; and each time another that connects, to
 * what is left. The first thing that does not work ends it.
 */
export const cycles: Row = {
  name: 'cycles',
  summary: `a client killed at any moment, and the next one that connects; ${SEED} has the moments of an earlier run, ${COUNT} how many`,
  async run({ scale }) {
    const seed = chosenSeed();
    const most = Number(process.env[COUNT] ?? scale.cycles);
    process.stderr.write(`cycles: ${SEED}=${seed}\n`);
    await using vpn = await Vpn.make();
    const untouched = vpn.state();
    const running = await VpnCycles.begin(vpn, seed);
    const before = await running.holdings();
    const all: Cycle[] = [];
    const grown = new Set(growth(untouched, before));
    for (let count = 1; count <= most; count++) {
      const isCompared = count % COMPARED_EVERY === 0 || count === most;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      all.push(await running.cycle(isCompared));
      if (!isCompared) continue;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      for (const difference of growth(before, await running.holdings(before))) grown.add(difference);
      process.stderr.write(`cycles: ${count}\n`);
    }
    for (const difference of grown) process.stderr.write(`${difference}\n`);
    return figures(all, { times: running.times, grown: grown.size });
  },
};

function figures(
  all: readonly Cycle[],
  { times: alone, grown }: { readonly times: ConnectTimes; readonly grown: number },
): Figure[] {
  const adopted = all.filter(({ wasAdopted }) => wasAdopted);
  const anew = all.filter(({ wasAdopted }) => !wasAdopted);
  const times = all.map((cycle) => cycle.connect);
  const of = `${all.length} clients killed at any moment`;
  const ms = (figure: string, value: number): Figure => ({ figure: `${of}: ${figure}`, value, unit: 'ms' });
  const count = (figure: string, value: number): Figure => ({ figure: `${of}: ${figure}`, value, unit: '' });
  return [
    count('that were connected by then', all.filter(({ wasConnected }) => wasConnected).length),
    count('the next one connects, and a ping gets through', all.length),
    count('of them those that adopt what they find', adopted.length),
    ms('takeover and handshake, p50', median(times)),
    {
      ...ms('the same, p95', percentile(times, 0.95)),
      target: { of: 'value', is: 'at most', bound: MOST[availableWireguard()] },
    },
    ms('the same, the longest', percentile(times, 1)),
    ...(anew.length === 0
      ? []
      : [
          ms(
            'the same, of those that do not adopt, p95',
            percentile(
              anew.map((cycle) => cycle.connect),
              0.95,
            ),
          ),
        ]),
    ms('the same of one that nobody was killed before', alone.nothing),
    ms('the same of one that finds all of a tunnel', alone.tunnel),
    ...[true, false].flatMap((isReady) => {
      const some = all.filter(({ wasReady }) => wasReady === isReady).map(({ whole }) => whole);
      const since = isReady
        ? 'from the end of the one that was killed, where its process waited'
        : 'from the start of its process, where that begins then';
      return some.length === 0 ? [] : [ms(`${since}, p95 of ${some.length}`, percentile(some, 0.95))];
    }),
    { ...count('kinds of things there are more or less of', grown), target: { of: 'value', is: 'at most', bound: 0 } },
  ];
}

/** What is otherwise than it was, kind by kind. */
function growth(before: VpnHoldings, after: VpnHoldings): string[] {
  return Object.entries(before).flatMap(([kind, was]) => {
    const is = after[kind];
    return is === was ? [] : [`${kind} were\n${was}\nand are\n${is}`];
  });
}
