import { readFileSync } from 'node:fs';

/** The times a lease is measured by. */
export interface Clock {
  /** Names one life of the kernel; monotonic times of different boots cannot be compared. */
  readonly bootId: string;
  /** Milliseconds on a clock that nobody can set and that all processes of one boot share. */
  monotonicMs(): number;
  /** Milliseconds since the epoch, for people. */
  wallMs(): number;
}

/** CLOCK_MONOTONIC, which stands still in suspend: a quarantine may then last longer, never shorter. */
export function systemClock(): Clock {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return { bootId, monotonicMs: () => Number(process.hrtime.bigint()) / 1e6, wallMs: () => Date.now() };
}
