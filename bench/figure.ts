/** What a figure must reach: itself, or its ratio to what it is compared with. */
type Target = { readonly of: 'value' | 'ratio'; readonly is: 'at least' | 'at most'; readonly bound: number };

/** One line of the result. */
export type Figure = {
  readonly figure: string;
  readonly value: number;
  /** such as `/s`, `ms`; empty for a count */
  readonly unit: string;
  /** what it is compared with, measured in the same rounds and the same unit */
  readonly reference?: { readonly name: string; readonly value: number };
  /** of the value to the reference's, round by round */
  readonly ratio?: number;
  /** absent where a figure is told for its own sake */
  readonly target?: Target;
};

/** Whether the target is met; undefined where there is none. @throws RangeError where it is of a ratio that is missing */
export function isMet({ figure, value, ratio, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  const measured = target.of === 'value' ? value : ratio;
  if (measured === undefined) throw new RangeError(`Cannot judge "${figure}": it has no ratio`);
  return target.is === 'at least' ? measured >= target.bound : measured <= target.bound;
}

/** `≥ 20 ×`, `≤ 5 ms` */
export function targetText({ target, unit }: Figure): string {
  if (target === undefined) return '';
  const sign = target.is === 'at least' ? '≥' : '≤';
  return target.of === 'ratio' ? `${sign} ${target.bound} ×` : `${sign} ${withUnit(formatNumber(target.bound), unit)}`;
}

export function measuredText({ value, unit }: Figure): string {
  return withUnit(formatNumber(value), unit);
}

export function referenceText({ reference, unit }: Figure): string {
  return reference === undefined ? '' : `${withUnit(formatNumber(reference.value), unit)} ${reference.name}`;
}

export function ratioText({ ratio }: Figure): string {
  return ratio === undefined ? '' : `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×`;
}

/** Three digits that mean something, and thousands apart. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en');
  return value.toFixed(size >= 10 ? 1 : 2);
}

function withUnit(number: string, unit: string): string {
  return unit === '' || unit.startsWith('/') ? `${number}${unit}` : `${number} ${unit}`;
}
