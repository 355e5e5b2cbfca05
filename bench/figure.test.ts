import { describe, expect, it } from 'vitest';
import { type Figure, formatNumber, isMet, measuredText, ratioText, referenceText, targetText } from './figure.ts';

const rate: Figure = {
  figure: 'cold create',
  value: 812.4,
  unit: '/s',
  reference: { name: 'cni', value: 20.25 },
  ratio: 40.12,
  target: { of: 'ratio', is: 'at least', bound: 20 },
};
const latency: Figure = {
  figure: 'p99',
  value: 6.123,
  unit: 'ms',
  target: { of: 'value', is: 'at most', bound: 5 },
};

describe('a figure', () => {
  it('is written with its unit, its reference and its target', () => {
    expect([measuredText(rate), referenceText(rate), ratioText(rate), targetText(rate)]).toEqual([
      '812/s',
      '20.3/s cni',
      '40.1 ×',
      '≥ 20 ×',
    ]);
    expect([measuredText(latency), referenceText(latency), ratioText(latency), targetText(latency)]).toEqual([
      '6.12 ms',
      '',
      '',
      '≤ 5 ms',
    ]);
  });

  it('is met at the bound, not beyond it', () => {
    expect(isMet(rate)).toBe(true);
    expect(isMet({ ...rate, ratio: 20 })).toBe(true);
    expect(isMet({ ...rate, ratio: 19.99 })).toBe(false);
    expect(isMet(latency)).toBe(false);
    expect(isMet({ ...latency, value: 5 })).toBe(true);
  });

  it('is neither met nor missed without a target', () => {
    const { target: _, ...told } = rate;
    expect(isMet(told)).toBeUndefined();
    expect(targetText(told)).toBe('');
  });

  it('cannot be judged by a ratio that it has not', () => {
    const { ratio: _, ...bare } = rate;
    expect(() => isMet(bare)).toThrow(RangeError);
  });
});

it('keeps three digits', () => {
  expect([0.004, 1.234, 12.34, 123.4, 10_000, 3].map(formatNumber)).toEqual([
    '0.00',
    '1.23',
    '12.3',
    '123',
    '10,000',
    '3',
  ]);
});
