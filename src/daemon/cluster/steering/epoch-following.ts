import { Conductor, type ConductorParts } from '../../../cluster/conductor.ts';
import { isAway } from '../../../cluster/registry.ts';

/** How long after a failure it is begun anew. */
const RETRY_MS = 1000;

/** Hears of each epoch, leads a change of it where nobody else does, and begins anew where that ends. */
export class EpochFollowing {
  readonly #conductor: Conductor;
  readonly #failed: (error: unknown) => void;

  constructor({ failed, ...parts }: ConductorParts & { readonly failed: (error: unknown) => void }) {
    this.#conductor = new Conductor(parts);
    this.#failed = failed;
  }

  /** Until it is told to end. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#conductor.run(signal);
      } catch (error) {
        // how the host stands says that
        if (!isAway(error)) this.#failed(error);
      }
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await new Promise((resolve) => void setTimeout(resolve, RETRY_MS).unref());
    }
  }
}
