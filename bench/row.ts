import type { Crowd } from './crowd.ts';
import type { Figure } from './figure.ts';
import type { Profile } from './processor-time.ts';
import type { Scale } from './scale.ts';
import type { Stage } from './stage.ts';

export type Bench = {
  readonly stage: Stage;
  readonly scale: Scale;
  /** A host with as many sandboxes as `scale.many`, made for the first row that asks. */
  readonly crowd: () => Promise<Crowd>;
  /** Takes note of where the time of a figure went. */
  readonly profile: (profile: Profile) => void;
};

/** A row of the table, or several that are measured together. */
export type Row = {
  readonly name: string;
  readonly summary: string;
  run(bench: Bench): Promise<Figure[]>;
};
