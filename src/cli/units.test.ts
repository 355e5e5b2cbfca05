import { InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import { formatBytes, parseBytes, parseRate, roundedBytes } from './units.ts';

describe('rates and bytes', () => {
  it.each([
    ['200000000', 200_000_000],
    ['200MB', 200_000_000],
    ['200 MB', 200_000_000],
    ['200mb/s', undefined],
    ['200MB/s', 200_000_000],
    ['1.5GB', 1_500_000_000],
    ['64KiB', 65_536],
    ['64kib', 65_536],
    ['100MiB', 104_857_600],
    ['2GiB', 2_147_483_648],
    ['1Gbit', 125_000_000],
    ['10mbit/S', 1_250_000],
    ['9bit', 1],
    ['0', 0],
    ['1B', 1],
    ['1b', undefined],
    ['8Mb', undefined],
    ['8Tbit', undefined],
    ['8 ', undefined],
    ['', undefined],
    ['-1', undefined],
    ['1e9', undefined],
    ['MB', undefined],
    ['1.MB', undefined],
    ['1,5MB', undefined],
    ['9999999999999999', undefined],
  ])('%j is %j', (text, bytes) => {
    if (bytes === undefined) expect(() => parseRate(text)).toThrow(InvalidArgumentError);
    else expect(parseRate(text)).toBe(bytes);
  });

  it('are not per second where they are amounts', () => {
    expect(() => parseBytes('200MB/s')).toThrow(InvalidArgumentError);
  });

  it('name what may have been meant by a lower-case b', () => {
    expect(() => parseRate('8Mb')).toThrow(/want Mbit or MB/);
  });

  it.each([
    [200_000_000, '200 MB'],
    [1_500_000_000, '1.5 GB'],
    [125_000, '125 kB'],
    [1000, '1 kB'],
    [65_536, '64 KiB'],
    [1_048_576, '1 MiB'],
    [209_715_200, '200 MiB'],
    [1_234_567, '1234567 B'],
    [999, '999 B'],
    [0, '0 B'],
  ])('%d are shown as %j, which is no other number', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
    expect(parseBytes(text)).toBe(bytes);
  });
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [999.6, '1.00 kB'],
  [1000, '1.00 kB'],
  [931_620, '932 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [12_345_678, '12.3 MB'],
  [2.5e18, '2500 PB'],
])('shows %d bytes among others as %s', (bytes, text) => {
  expect(roundedBytes(bytes)).toBe(text);
});
