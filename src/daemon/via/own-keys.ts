import { InputError } from '../../errors.ts';
import type { Key } from '../../plan/wireguard/key.ts';

/** Which keys the tunnels of this host run with, or are about to: a WireGuard key works in one place at a time. */
export class OwnKeys {
  /** public, by the tunnel's name */
  readonly #keys = new Map<string, Set<Key>>();
  /** how many creations are on their way that leave by one */
  readonly #asked = new Map<string, number>();

  /**
   * A creation begins, which {@link settle} is told the end of.
   *
   * @param wanted the keys of its tunnels, by name
   * @throws InputError `via_taken` where another tunnel has one of them; nothing is taken note of then
   */
  ask(wanted: ReadonlyMap<string, Key>): void {
    const whose = new Map([...this.#keys].flatMap(([tunnel, keys]) => [...keys].map((key) => [key, tunnel] as const)));
    for (const [tunnel, key] of wanted) {
      const other = whose.get(key) ?? tunnel;
      if (other !== tunnel) {
        const message = `Cannot leave by tunnel ${tunnel}: it has the key of tunnel ${other}, by which others leave, and a WireGuard key works in one place at a time`;
        throw new InputError('via_taken', message, { field: 'via' });
      }
      whose.set(key, tunnel);
    }
    for (const [tunnel, key] of wanted) {
      this.#asked.set(tunnel, (this.#asked.get(tunnel) ?? 0) + 1);
      this.#keys.set(tunnel, new Set([...(this.#keys.get(tunnel) ?? []), key]));
    }
  }

  /** @param used tunnels that sandboxes leave by */
  settle(tunnels: Iterable<string>, used: ReadonlySet<string>): void {
    for (const tunnel of tunnels) {
      const left = (this.#asked.get(tunnel) ?? 0) - 1;
      if (left > 0) this.#asked.set(tunnel, left);
      else this.#asked.delete(tunnel);
    }
    this.keep(used);
  }

  /** What a tunnel runs with now: its file may be another one than it was. */
  runs(tunnel: string, key: Key): void {
    this.#keys.set(tunnel, new Set([key]));
  }

  /** Forgets those that nobody leaves by. */
  keep(used: ReadonlySet<string>): void {
    for (const tunnel of this.#keys.keys()) {
      if (!used.has(tunnel) && !this.#asked.has(tunnel)) this.#keys.delete(tunnel);
    }
  }
}
