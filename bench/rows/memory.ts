import { formatNumber } from '../figure.ts';
import type { Row } from '../row.ts';

const MEGABYTE = 1e6;

/** What the daemon's process takes. */
export const memory: Row = {
  name: 'memory',
  summary: 'memory of the daemon at 10,000 live',
  async run({ scale, crowd }) {
    const { culvert } = await crowd();
    const live = `at ${formatNumber(scale.many)} live`;
    return [
      {
        figure: `memory of the daemon (VmRSS), ${live}`,
        value: culvert.memory('status', 'VmRSS') / MEGABYTE,
        unit: 'MB',
        target: { of: 'value', is: 'at most', bound: 200 },
      },
      {
        figure: `memory of the daemon (Pss), ${live}`,
        value: culvert.memory('smaps_rollup', 'Pss') / MEGABYTE,
        unit: 'MB',
      },
    ];
  },
};
