/** Something that makes sandbox networks. */
export type Creator = {
  readonly name: string;
  /** how many it has made and not removed */
  readonly live: number;
  /** the part of a round's number that it makes, where others would wait for it too long; all of it by default */
  readonly share?: number;
  /** Makes some more; the time that takes is what is measured, so nothing else is done in it. */
  create(count: number): Promise<void>;
  /** Does what must come before `create` and is not its work. */
  prepare?(count: number): Promise<void>;
  /** Does what must come after a round, such as to look at what it has taken. */
  finish?(): void;
};

/** Lets a creator make as many as are missing. */
export async function growTo(creator: Creator, live: number): Promise<void> {
  const CHUNK = 50;
  while (creator.live < live) {
    const count = Math.min(CHUNK, live - creator.live);
    await creator.prepare?.(count);
    await creator.create(count);
  }
}

export type Course = {
  /** how many each has live in the middle of the rounds */
  readonly around: number;
  readonly rounds: number;
  readonly perRound: number;
};

/**
 * Lets all creators make networks in turns, so that each round of one has its neighbour in a round of every other; who
 * comes first changes from round to round.
 *
 * @returns µs per create, by creator, a value for each round
 */
export async function race(creators: readonly Creator[], { around, rounds, perRound }: Course): Promise<number[][]> {
  for (const creator of creators) {
    await growTo(creator, around - Math.floor((rounds * inRound(creator, perRound)) / 2));
  }
  const costs_us: number[][] = creators.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < creators.length; turn++) {
      const index = (round + turn) % creators.length;
      const creator = creators[index];
      if (creator === undefined) continue;
      const count = inRound(creator, perRound);
      await creator.prepare?.(count);
      const begin = performance.now();
      await creator.create(count);
      costs_us[index]?.push(((performance.now() - begin) * 1000) / count);
      creator.finish?.();
    }
  }
  return costs_us;
}

function inRound({ share = 1 }: Creator, perRound: number): number {
  return Math.max(1, Math.round(perRound * share));
}
