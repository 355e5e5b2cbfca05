import type { SandboxResource } from '../src/api/client/client.ts';
import { ProofError } from './proof.ts';

type Rest = { readonly id: string; readonly removedMs: number };

/**
 * Who had which address when, as seen by somebody who is not Culvert: written by what it answered, and asked nowhere
 * else.
 */
export class Ledger {
  readonly #floorMs: number;
  readonly #held = new Map<string, SandboxResource>();
  readonly #resting = new Map<string, Rest>();
  #handedOut = 0;
  #usedAgain = 0;

  /** @param floorMs that an address rests at least between two sandboxes */
  constructor(floorMs: number) {
    this.#floorMs = floorMs;
  }

  get held(): readonly SandboxResource[] {
    return [...this.#held.values()];
  }

  /** How often an address was handed out, and how often one that had rested. */
  get counts(): { readonly handedOut: number; readonly usedAgain: number } {
    return { handedOut: this.#handedOut, usedAgain: this.#usedAgain };
  }

  /** Takes note of a sandbox that was created. @throws ProofError where its address is another's, or was too lately */
  handOut(sandbox: SandboxResource): void {
    const { hostAddress: address, id } = sandbox;
    const holder = this.#held.get(address);
    if (holder !== undefined) throw doubled(address, `${id} was given it while ${holder.id} has it`);
    const rest = this.#resting.get(address);
    if (rest !== undefined) {
      // An upper bound of how long it rested, so that a slow machine never looks like a fault.
      const restedMs = performance.now() - rest.removedMs;
      if (restedMs < this.#floorMs) {
        throw doubled(address, `${id} was given it ${restedMs.toFixed(0)} ms after ${rest.id} was removed`);
      }
      this.#resting.delete(address);
      this.#usedAgain++;
    }
    this.#held.set(address, sandbox);
    this.#handedOut++;
  }

  /** Takes note of sandboxes whose removal was asked for at `removedMs`. */
  takeBack(sandboxes: readonly SandboxResource[], removedMs: number): void {
    for (const { hostAddress, id } of sandboxes) {
      this.#held.delete(hostAddress);
      this.#resting.set(hostAddress, { id, removedMs });
    }
  }
}

function doubled(address: string, observed: string): ProofError {
  return new ProofError({
    claim: 'no address is ever held by two sandboxes, nor handed on before its quarantine is over',
    done: 'kept a ledger of every address that was handed out',
    seen: observed,
    observed: `${address}: ${observed}`,
    expected: `${address}: one holder at a time`,
  });
}
