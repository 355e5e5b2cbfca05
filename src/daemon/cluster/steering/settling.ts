/** Waits for what other hosts sent otherwise to arrive, once for each host at a time. */
export class Settling {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #settled: (name: string) => void;

  constructor(settled: (name: string) => void) {
    this.#settled = settled;
  }

  /** Where there is nothing to hear that would have the host judged again. */
  wait(name: string, ms: number): void {
    if (ms === 0 || this.#timers.has(name)) return;
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      this.#settled(name);
    }, ms);
    this.#timers.set(name, timer);
  }

  end(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }
}
