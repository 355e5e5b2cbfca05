import { race } from '../contestants/creator.ts';
import { Culvert, DEFAULT_POOL } from '../contestants/culvert.ts';
import { formatNumber } from '../figure.ts';
import type { Row } from '../row.ts';
import { median, medianRatio } from '../statistics.ts';

/** The pool's default size is twice this, so that no round finds it empty. */
const PER_ROUND = DEFAULT_POOL.microvm / 2;

/** What handing out a warm network costs a daemon with many sandboxes, in turns with one that has few. */
export const pool: Row = {
  name: 'pool',
  summary: 'cost of a create from the pool at 10,000 live, against 100 live',
  async run({ stage, scale, crowd }) {
    const { culvert } = await crowd();
    await culvert.kill();
    await culvert.up({ pool: { microvm: DEFAULT_POOL.microvm } });
    await culvert.adopted();
    await culvert.practise(scale.practice);
    using small = await Culvert.start(stage, { pool: { microvm: DEFAULT_POOL.microvm } });
    await small.practise(scale.practice);
    // Many rounds, as each is short.
    const rounds = 3 * scale.rounds;
    const [many = [], few = []] = await race([culvert, small], {
      around: scale.few,
      rounds,
      perRound: Math.min(PER_ROUND, Math.floor((2 * scale.few) / rounds)),
    });
    return [
      {
        figure: `cost per create from the pool, microvm, at ${formatNumber(scale.many)} live`,
        value: median(many),
        unit: 'µs',
        reference: { name: `at ${scale.few}`, value: median(few) },
        ratio: medianRatio(many, few),
        target: { of: 'ratio', is: 'at most', bound: 1.1 },
      },
    ];
  },
};
