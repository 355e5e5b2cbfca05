import type { NewEvent, Problem } from '../sandbox/event.ts';

/** How often it is looked for problems that have come or gone. */
const TELL_MS = 1000;

/** A problem is a state; that it has come or gone is something that happens, and is told as an event. */
export class ProblemNews {
  readonly #problems: () => readonly Problem[];
  readonly #emit: (event: NewEvent) => void;
  /** Messages of those that were told of, by code. */
  #told: ReadonlyMap<string, string> = new Map();
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(problems: () => readonly Problem[], emit: (event: NewEvent) => void) {
    this.#problems = problems;
    this.#emit = emit;
  }

  /** @param nowMs of a clock that never goes back */
  step(nowMs: number): void {
    if (nowMs - this.#toldMs < TELL_MS) return;
    this.#toldMs = nowMs;
    this.look();
  }

  /** Tells of what has come or gone since it last looked. */
  look(): void {
    const now = new Map(this.#problems().map(({ code, message }) => [code, message]));
    for (const [code, message] of now) {
      if (!this.#told.has(code)) this.#emit({ type: 'problem.raised', message, data: { code } });
    }
    for (const [code, message] of this.#told) {
      if (!now.has(code)) this.#emit({ type: 'problem.cleared', message: `No more: ${message}`, data: { code } });
    }
    this.#told = now;
  }
}
