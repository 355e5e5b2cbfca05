import { CulvertError } from '../errors.ts';
import { ALIVE, aliveKey } from './keys.ts';
import type { Registry } from './registry.ts';

/** So many are asked for one by one; of more all are listed. */
const ONE_BY_ONE = 16;

/** Names of the hosts that were heard of lately; others keep their places. @throws CulvertError `registry_*` */
export async function listAlive(registry: Registry): Promise<ReadonlySet<string>> {
  const { entries } = await registry.list(ALIVE);
  return new Set(entries.map(({ key }) => key.slice(ALIVE.length)));
}

/**
 * Whether the hosts are alive that somebody has to know of: those that keep a change back, or do not answer. It is asked and
 * not followed: of five thousand hosts that is half of all that a registry would have to tell.
 */
export class Liveness {
  readonly #registry: Registry;
  readonly #nowMs: () => number;
  #known: ReadonlyMap<string, { readonly isAlive: boolean; readonly atMs: number }> = new Map();
  #isAsking = false;

  /** @param nowMs of a clock that never goes back */
  constructor(registry: Registry, nowMs: () => number) {
    this.#registry = registry;
    this.#nowMs = nowMs;
  }

  /** undefined where it was not asked for, or is not known yet */
  isAlive(name: string): boolean | undefined {
    return this.#known.get(name)?.isAlive;
  }

  /**
   * Asks for these, where that is not known or was longer ago, and forgets of all others. Where the registry is away what is
   * known stays. It does nothing while it still asks.
   *
   * @param wanted names, and for how many ms what is known is good enough
   * @returns whether anything is known otherwise
   */
  async ask(wanted: ReadonlyMap<string, number>): Promise<boolean> {
    if (this.#isAsking) return false;
    const nowMs = this.#nowMs();
    const former = this.#known;
    this.#known = new Map([...former].filter(([name]) => wanted.has(name)));
    const old = [...wanted].flatMap(([name, freshMs]) => {
      const known = former.get(name);
      return known === undefined || nowMs - known.atMs >= freshMs ? [name] : [];
    });
    if (old.length === 0) return false;
    this.#isAsking = true;
    try {
      // who lists all knows all anew, and need not list them again for the next
      const asked = old.length > ONE_BY_ONE ? [...wanted.keys()] : old;
      const alive = await this.#ofThese(asked);
      const news = asked.map((name) => [name, { isAlive: alive.has(name), atMs: nowMs }] as const);
      const isOther = news.some(([name, { isAlive }]) => this.#known.get(name)?.isAlive !== isAlive);
      this.#known = new Map([...this.#known, ...news]);
      return isOther;
    } catch (error) {
      // the registry is away, which how the host stands says: it is asked again
      if (!(error instanceof CulvertError)) throw error;
      return false;
    } finally {
      this.#isAsking = false;
    }
  }

  async #ofThese(names: readonly string[]): Promise<ReadonlySet<string>> {
    if (names.length > ONE_BY_ONE) return listAlive(this.#registry);
    const entries = await Promise.all(names.map((name) => this.#registry.get(aliveKey(name))));
    return new Set(names.filter((_name, index) => entries[index] !== undefined));
  }
}
