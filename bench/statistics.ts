/** The middle value, or the mean of the two in the middle. @throws RangeError where there are none */
export function median(values: readonly number[]): number {
  return (percentile(values, 0.5, 'lower') + percentile(values, 0.5, 'upper')) / 2;
}

/** @throws RangeError where there are none */
export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('Cannot take the mean of no values');
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The least value that at least `share` of all values do not exceed (nearest rank); `upper` is the next one where the
 * share falls exactly between two.
 *
 * @throws RangeError where there are no values, or `share` is not within 0 and 1
 */
export function percentile(values: readonly number[], share: number, side: 'lower' | 'upper' = 'lower'): number {
  if (!(share >= 0 && share <= 1)) throw new RangeError(`Cannot take the share ${share} of values: want 0 to 1`);
  const sorted = values.toSorted((a, b) => a - b);
  const exact = share * sorted.length;
  const rank = side === 'upper' ? Math.floor(exact) : Math.ceil(exact) - 1;
  const value = sorted[Math.min(Math.max(rank, 0), sorted.length - 1)];
  if (value === undefined) throw new RangeError('Cannot take a percentile of no values');
  return value;
}

/**
 * The median of what rounds say one by one: values measured next to each other saw the same machine, whatever else ran
 * on it.
 *
 * @throws RangeError where the rounds are not as many on both sides
 */
export function medianRatio(values: readonly number[], references: readonly number[]): number {
  if (values.length !== references.length) {
    throw new RangeError(`Cannot compare ${values.length} rounds with ${references.length}`);
  }
  return median(values.map((value, round) => value / (references[round] ?? Number.NaN)));
}
