import { randomBytes } from 'node:crypto';
import { Prober, type ProberParts } from '../../../mesh/path/prober.ts';
import { PATH_TIMING } from '../../../plan/path/path.ts';
import type { ProbeSockets } from '../../probes/sockets.ts';

/** Questions a second, of all hosts together, and while ways are changed. */
const PER_SECOND = 50;

export type ProbingParts = Pick<ProberParts, 'whole' | 'self' | 'learned'> & {
  readonly sockets: ProbeSockets;
  readonly nowMs: () => number;
};

/** Asks the other hosts by the ways to them, when it is time, and hears them. */
export class Probing {
  readonly prober: Prober;
  readonly #sockets: ProbeSockets;
  readonly #nowMs: () => number;
  #isListening = false;
  #hasEnded = false;
  #next: NodeJS.Timeout | undefined;

  constructor({ sockets, nowMs, ...parts }: ProbingParts) {
    this.#sockets = sockets;
    this.#nowMs = nowMs;
    this.prober = new Prober({
      ...parts,
      timing: PATH_TIMING,
      perSecond: PER_SECOND,
      newNonce: () => randomBytes(8).readBigUInt64BE(),
      send: (leg, { address }, bytes) => sockets.send(leg, address, bytes),
    });
  }

  /** Begins to listen. */
  async begin(): Promise<void> {
    await this.#sockets.begin((leg, from, bytes) => this.prober.hear(leg, from, bytes, this.#nowMs()));
    this.#isListening = true;
  }

  /** There may be something to ask at once. */
  hurry(): void {
    this.#stepIn(0);
  }

  /** Resolves when the sockets are gone. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    clearTimeout(this.#next);
    await this.#sockets.close();
  }

  #stepIn(ms: number): void {
    if (this.#hasEnded || !this.#isListening) return;
    clearTimeout(this.#next);
    this.#next = setTimeout(() => this.#stepIn(this.prober.step(this.#nowMs())), ms);
  }
}
