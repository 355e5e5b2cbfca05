/** The constants of RFC 5227, 1.1; times in milliseconds. */
export type ArpTiming = {
  /** the first probe waits from 0 to this long, so that hosts that start together do not ask together */
  readonly probeWaitMs: number;
  readonly probeNum: number;
  /** between two probes pass from this … */
  readonly probeMinMs: number;
  /** … to this long */
  readonly probeMaxMs: number;
  /** how long after the last probe an address counts as free */
  readonly announceWaitMs: number;
  readonly announceNum: number;
  readonly announceIntervalMs: number;
};

export const RFC_5227: ArpTiming = {
  probeWaitMs: 1000,
  probeNum: 3,
  probeMinMs: 1000,
  probeMaxMs: 2000,
  announceWaitMs: 2000,
  announceNum: 2,
  announceIntervalMs: 2000,
};
