import type { Ipv4 } from '../addr/ipv4.ts';
import { AskerLimit } from './asker-limit.ts';
import { ASKS } from './limits.ts';
import type { Names } from './names.ts';
import { respond, type Transport } from './respond.ts';

/** Queries since the start, by what became of them: told a name or that there is none, refused, or left unanswered. */
export type Counts = { readonly answered: number; readonly refused: number; readonly dropped: number };

/** Where queries are brought, by whatever way they come: holds askers to their rate, answers, and counts. */
export class Desk {
  readonly #names: Names;
  readonly #limit: AskerLimit;
  readonly #counts = { answered: 0, refused: 0, dropped: 0 };
  #failure: string | undefined;

  constructor(names: Names, limit = new AskerLimit(ASKS)) {
    this.#names = names;
    this.#limit = limit;
  }

  get counts(): Counts {
    return { ...this.#counts };
  }

  /** What kept it from answering last, until it answers again. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** @returns undefined where there is no answer: the asker has asked too often, or it is no query */
  answer(message: Buffer, asker: Ipv4, transport: Transport): Buffer | undefined {
    if (!this.#limit.take(asker)) return this.drop();
    try {
      const response = respond(message, asker, transport, this.#names);
      if (response === undefined) return this.drop();
      this.#counts[response.code === 'NOERROR' || response.code === 'NXDOMAIN' ? 'answered' : 'refused'] += 1;
      this.#failure = undefined;
      return response.bytes;
    } catch (error) {
      // what one sandbox asks must not end the daemon of all
      this.failed(error);
      return this.drop();
    }
  }

  drop(): undefined {
    this.#counts.dropped += 1;
  }

  failed(error: unknown): void {
    this.#failure = error instanceof Error ? error.message : String(error);
  }
}
