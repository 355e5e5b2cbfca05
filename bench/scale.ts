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
  /** peers of a device where a row says 5,000 */
  readonly peers: number;
  /** rounds of what takes no longer than tens of milliseconds */
  readonly shortRounds: number;
  /** peers of a daemon whose hosts change */
  readonly changingPeers: number;
  /** hosts that join one after the other */
  readonly joins: number;
  /** hosts without a kernel where a row says 1,000, and where it says 5,000 */
  readonly hosts: number;
  readonly manyHosts: number;
  /** of sandboxes of a cluster, while encryption is switched */
  readonly meshChurnMs: number;
  /** switches of encryption, one after the other */
  readonly switches: number;
  /** clients of a tunnel that are killed, one after the other */
  readonly cycles: number;
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
  peers: 5000,
  shortRounds: 40,
  changingPeers: 500,
  joins: 30,
  hosts: 1000,
  manyHosts: 5000,
  meshChurnMs: 300_000,
  switches: 50,
  cycles: 1000,
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
  peers: 200,
  shortRounds: 5,
  changingPeers: 40,
  joins: 2,
  hosts: 40,
  manyHosts: 80,
  meshChurnMs: 30_000,
  switches: 6,
  cycles: 20,
};
