/** A clock set by hand, in whole milliseconds. */
export class HandClock {
  bootId = 'boot-0';
  monotonic = 10_000;
  wall = 1_700_000_000_000;
  monotonicMs = (): number => this.monotonic;
  wallMs = (): number => this.wall;
}
