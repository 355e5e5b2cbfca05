import { printTable } from '../src/cli/output.ts';
import { figuresOf } from '../src/cli/timing.ts';

/** What was measured, in the order it was. */
export class Figures {
  readonly #rows: (readonly [what: string, measured: string, how: string])[] = [];

  add(what: string, measured: string, how: string): void {
    this.#rows.push([what, measured, how]);
  }

  /** @param times ms, of each of `count` requests */
  addTimes(what: string, times: readonly number[], how: string): void {
    const { p50Ms, p99Ms, count } = figuresOf(times, 1);
    this.add(what, `p50 ${msText(p50Ms)}, p99 ${msText(p99Ms)}`, `${count} times, ${how}`);
  }

  print(): void {
    printTable(['WHAT', 'MEASURED', 'HOW'], this.#rows);
  }
}

/** `0.42 ms`, `18 ms`, `1.3 s`: three digits at most. */
export function msText(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 10 ? ms.toFixed(0) : ms.toFixed(2)} ms`;
}
