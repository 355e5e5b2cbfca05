/** How long many requests of one kind took; times in ms. */
export type Figures = {
  readonly count: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

/**
 * @param times ms, of each request
 * @param wholeMs from the first one's start to the last one's end
 */
export function figuresOf(times: readonly number[], wholeMs: number): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  // nearest rank: the least time that so many of them did not exceed
  const quantile = (part: number): number => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
  return {
    count: times.length,
    perSecond: (times.length / wholeMs) * 1000,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    maxMs: quantile(1),
  };
}
