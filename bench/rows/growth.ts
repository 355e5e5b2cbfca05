import type { Figure } from '../figure.ts';
import { formatNumber } from '../figure.ts';
import type { Row } from '../row.ts';
import { median, medianRatio } from '../statistics.ts';

/** What a cold create costs when there are many sandboxes already. */
export const growth: Row = {
  name: 'growth',
  summary: 'cost of a cold create at 10,000 live, against 100 live and against the kernel',
  async run({ scale, crowd }) {
    const { atFew, atMany } = await crowd();
    const few = formatNumber(scale.few);
    const figure = `cost per cold create, microvm, at ${formatNumber(scale.many)} live`;
    const cost = { figure, value: median(atMany.culvert), unit: 'µs' };
    return [
      {
        ...cost,
        reference: { name: `at ${few}`, value: median(atFew.culvert) },
        ratio: median(atMany.culvert) / median(atFew.culvert),
        target: { of: 'ratio', is: 'at most', bound: 2 },
      },
      {
        ...cost,
        reference: { name: 'kernel limit', value: median(atMany.kernel) },
        ratio: medianRatio(atMany.culvert, atMany.kernel),
        target: { of: 'ratio', is: 'at most', bound: 1.25 },
      },
      {
        figure: `the same by the kernel limit`,
        value: median(atMany.kernel),
        unit: 'µs',
        reference: { name: `at ${few}`, value: median(atFew.kernel) },
        ratio: median(atMany.kernel) / median(atFew.kernel),
      },
    ] satisfies Figure[];
  },
};
