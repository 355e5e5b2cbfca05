import { readFileSync } from 'node:fs';

/** Since the boot, sleep included (CLOCK_BOOTTIME): what proc(5) says of /proc/uptime. @returns ms */
export function sinceBootMs(): number {
  const [seconds = ''] = readFileSync('/proc/uptime', 'latin1').split(' ');
  return Number(seconds) * 1000;
}

/** Longer than any load keeps a process from its turn. */
const PAUSE_MS = 5000;

/** Tells when a process that looks again and again has not done so for long: the machine slept, or the process was stopped. */
export class Pauses {
  #lastMs: number;
  readonly #everyMs: number;

  /**
   * @param nowMs of a clock that counts sleep
   * @param everyMs how often it looks
   */
  constructor(nowMs: number, everyMs: number) {
    this.#lastMs = nowMs;
    this.#everyMs = everyMs;
  }

  /** @returns how long it was, in ms; undefined where there was none */
  look(nowMs: number): number | undefined {
    const gapMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    return gapMs >= this.#everyMs + PAUSE_MS ? gapMs : undefined;
  }
}
