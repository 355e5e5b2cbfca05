/** How much is done: in full, or just enough to see that all of it works. */
export type Scale = {
  /** sandboxes where a row says 100 */
  readonly few: number;
  /** sandboxes where a row says 300 */
  readonly some: number;
  /** sandboxes where a row says 10,000 */
  readonly many: number;
  /** rounds that contestants take turns in */
  readonly rounds: number;
  readonly perRound: number;
  /** sandboxes that a daemon makes and removes before its creates are timed */
  readonly practice: number;
  /** of memory, before anything is measured: what ten thousand sandboxes take, twice */
  readonly touchedBytes: number;
  /** requests whose latency is taken one by one */
  readonly requests: number;
  readonly churnMs: number;
  /** of each stream of packets */
  readonly streamMs: number;
};

export const FULL: Scale = {
  few: 100,
  some: 300,
  many: 10_000,
  rounds: 7,
  perRound: 20,
  practice: 1000,
  touchedBytes: 10e9,
  requests: 1000,
  churnMs: 60_000,
  streamMs: 2000,
};

export const QUICK: Scale = {
  few: 15,
  some: 30,
  many: 120,
  rounds: 3,
  perRound: 4,
  practice: 20,
  touchedBytes: 0,
  requests: 50,
  churnMs: 2000,
  streamMs: 1000,
};
