import { randomInt } from 'node:crypto';

/** A seed of an earlier run, to have the same again. */
export const SEED = 'CULVERT_SEED';

/** The one that is asked for, or any. It should be told, so that it can be asked for. */
export function chosenSeed(): number {
  const given = process.env[SEED];
  return given === undefined ? randomInt(1, 2 ** 32) : Number(given);
}

/**
 * Numbers from 0 to 1 that look like chance, the same for the same seed: Marsaglia's xorshift32.
 *
 * @param seed of 32 bits, but 0
 */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  if (state === 0) throw new RangeError('Cannot begin with the seed 0: nothing would follow but 0');
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
