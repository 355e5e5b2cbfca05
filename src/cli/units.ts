import { InvalidArgumentError } from 'commander';

/** Multiples of a byte, by unit. Bits are told from bytes by their name, never by the case of one letter. */
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  bit: 1 / 8,
  kbit: 1e3 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
};

/** What help says of the texts that are read here. */
export const RATE_WORDS = 'per second: a number of bytes, or with a unit such as 200MB, 64KiB, 1Gbit';
export const BYTES_WORDS = 'a number of bytes, or with a unit such as 100MB, 64KiB';

/**
 * Reads bytes per second: `200000000`, `200MB`, `200MB/s`, `1.5Gbit`. Units are decimal but for KiB, MiB and GiB.
 *
 * @throws InvalidArgumentError
 */
export function parseRate(text: string): number {
  return parseBytes(text.replace(/\/s$/i, ''));
}

/**
 * Reads bytes; a fraction of one is dropped.
 *
 * @throws InvalidArgumentError
 */
export function parseBytes(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?)(?: ?([a-z]{1,4}))?$/i.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError(`Want ${BYTES_WORDS}.`);
  if (/^[kmg]b$/.test(unit.slice(0, 1).toLowerCase() + unit.slice(1)) || unit === 'b') {
    throw new InvalidArgumentError(
      `${unit} may mean bits or bytes: want ${unit.slice(0, -1)}bit or ${unit.slice(0, -1)}B.`,
    );
  }
  const factor = UNITS[unit.toLowerCase()];
  if (factor === undefined) {
    throw new InvalidArgumentError(
      `No such unit as ${unit}: want B, kB, MB, GB, KiB, MiB, GiB, bit, kbit, Mbit or Gbit.`,
    );
  }
  return Math.floor(Number(digits) * factor);
}

/** For a table in which sizes stand below each other: three digits, decimal units. */
export function roundedBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let power = 0;
  // what would be rounded up to a thousand is one of the next
  while (power < units.length - 1 && bytes / 1000 ** power >= 999.5) power++;
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(value >= 9.995 ? 1 : 2)} ${units[power]}`;
}

const SHOWN = [
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/** The other way round, as short as it can be said exactly: `200 MB`, `64 KiB`, `1234567 B`. */
export function formatBytes(bytes: number): string {
  const texts = SHOWN.flatMap(([unit, factor]) => {
    const value = bytes / factor;
    return value >= 1 && Number.isInteger(value * 100) ? [`${value} ${unit}`] : [];
  });
  return [...texts, `${bytes} B`].reduce((best, text) => (text.length < best.length ? text : best));
}
