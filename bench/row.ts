import type { Figure } from './figure.ts';
import type { Stage } from './stage.ts';

/** How much is done: in full, or just enough to see that all of it works. */
export type Scale = {
  /** sandboxes where a row says 300 */
  readonly some: number;
  /** sandboxes where a row says 10,000 */
  readonly many: number;
  readonly rounds: number;
  readonly perRound: number;
};

export const FULL: Scale = { some: 300, many: 10_000, rounds: 7, perRound: 20 };
export const QUICK: Scale = { some: 30, many: 120, rounds: 3, perRound: 4 };

export type Bench = { readonly stage: Stage; readonly scale: Scale; readonly say: (line: string) => void };

/** A row of the table, or several that are measured together. */
export type Row = {
  readonly name: string;
  readonly summary: string;
  run(bench: Bench): Promise<Figure[]>;
};
