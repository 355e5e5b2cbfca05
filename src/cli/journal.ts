import { CulvertError } from '../errors.ts';

/** How long the same line is not written again: what fails at each tick would fill the journal. */
const REPEAT_MS = 60_000;

/** Different lines that are remembered. */
const LINES_MAX = 100;

/** The daemon's log: what is nobody's input and no answer, a line each, for whoever keeps stderr. */
export class Journal {
  readonly #write: (text: string) => void;
  readonly #now: () => number;
  readonly #written = new Map<string, number>();

  /** @param now ms of a clock that does not jump */
  constructor(write: (text: string) => void, now: () => number = () => performance.now()) {
    this.#write = write;
    this.#now = now;
  }

  /** Notes an error, with its stack where it is a defect, or a message. */
  readonly note = (what: unknown): void => {
    const text = textOf(what);
    const now = this.#now();
    const before = this.#written.get(text);
    if (before !== undefined && now - before < REPEAT_MS) return;
    if (this.#written.size >= LINES_MAX) this.#written.clear();
    this.#written.set(text, now);
    this.#write(`culvert: ${text}\n`);
  };
}

/** What the family says is for people, and says where to look. */
function textOf(what: unknown): string {
  if (what instanceof CulvertError) return `${what.message} (${what.code})`;
  return what instanceof Error ? (what.stack ?? what.message) : String(what);
}
