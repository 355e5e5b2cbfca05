import { inspect, isDeepStrictEqual } from 'node:util';

/** Something that is claimed, what was done to try it, and what came of that. */
export type Proof = {
  readonly claim: string;
  readonly done: string;
  /** What was observed, in words for those who look on. */
  readonly seen: string;
  readonly observed: unknown;
  readonly expected: unknown;
};

/** A claim that does not hold, with the evidence. */
export class ProofError extends Error {
  override readonly name = 'ProofError';
  readonly proof: Proof;

  constructor(proof: Proof) {
    super(`Not so: ${proof.claim}`);
    this.proof = proof;
  }
}

/** @throws ProofError where what was observed is not what was expected */
export function assertProven(proof: Proof): void {
  if (!isDeepStrictEqual(proof.observed, proof.expected)) throw new ProofError(proof);
}

/** The evidence, a line or several each. */
export function evidence({ done, observed, expected }: Proof): string {
  const text = (value: unknown): string =>
    inspect(value, { depth: 6, maxArrayLength: 20, maxStringLength: 400, breakLength: 100 });
  return [`done      ${done}`, `expected  ${text(expected)}`, `observed  ${text(observed)}`].join('\n');
}
