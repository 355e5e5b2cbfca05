import { styleText } from 'node:util';
import { print } from '../src/cli/output.ts';
import { Progress } from '../src/cli/progress.ts';
import { assertProven, type Proof } from './proof.ts';

/** Tells what is being done and what was proven, in plain lines; on a terminal with colours, and how far it is. */
export class Narrator {
  readonly #beganMs = performance.now();
  #proofs = 0;

  /** How many claims were proven so far. */
  get proofs(): number {
    return this.#proofs;
  }

  /** s since the beginning */
  get elapsedS(): number {
    return (performance.now() - this.#beganMs) / 1000;
  }

  act(title: string): void {
    print(`\n${style('bold', title)}${style('dim', `  (${this.elapsedS.toFixed(1)} s)`)}`);
  }

  say(text: string): void {
    print(`    ${text}`);
  }

  /** @throws ProofError */
  prove(proof: Proof): void {
    assertProven(proof);
    this.#proofs++;
    print(`  ${style('green', '✓')} ${proof.claim}\n    ${style('dim', `${proof.done}: ${proof.seen}`)}`);
  }

  progress(label: string, total: number): Progress {
    return new Progress(`    ${label}`, total);
  }
}

function style(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout });
}
