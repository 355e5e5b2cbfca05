import { createHash } from 'node:crypto';
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Key } from '../../plan/wireguard/key.ts';
import { readFileIfThere } from '../../whole-file.ts';
import { makeFolder } from '../journal/journal.ts';

/** Of pairs of keys, the ones last heard. */
const KEPT_MAX = 256;

/**
 * When this host’s clock last had a handshake with a peer, on disk. A peer remembers the time of the last handshake that a
 * key began, and is silent to one that is no later (WireGuard, 5.1): a host whose clock was set back, or is one of a
 * machine without a battery, then gets no answer and cannot tell why unless it remembers that time as well.
 *
 *     <folder>/<hash of both public keys>    ms since the epoch
 *
 * It is a hint: one that is lost or cannot be read is none.
 */
export class HandshakeTimes {
  readonly #folder: string;
  readonly #own: Key;

  /** @param own public key of this host */
  constructor(stateFolder: string, own: Key) {
    this.#folder = join(stateFolder, 'handshakes');
    this.#own = own;
  }

  /** ms since the epoch; undefined where it is not known, or cannot be read */
  lastWith(peer: Key): number | undefined {
    try {
      const ms = Number(readFileIfThere(this.#path(peer)) ?? Number.NaN);
      return Number.isSafeInteger(ms) && ms > 0 ? ms : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * @param ms since the epoch, of this host’s clock
   * @returns why it is not remembered, where it could not be, as on a disk that is full: no tunnel goes for that
   */
  remember(peer: Key, ms: number): string | undefined {
    try {
      if ((this.lastWith(peer) ?? 0) >= ms) return undefined;
      makeFolder(this.#folder);
      const path = this.#path(peer);
      // a loss of power may take it back: the one of before is as good
      writeFileSync(`${path}.new`, `${Math.floor(ms)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
      this.#forgetOldest();
      return undefined;
    } catch (error) {
      return `when this host last had a handshake cannot be written down: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #path(peer: Key): string {
    return join(this.#folder, createHash('sha256').update(`${this.#own} ${peer}`).digest('hex').slice(0, 32));
  }

  #forgetOldest(): void {
    const names = readdirSync(this.#folder);
    if (names.length <= KEPT_MAX) return;
    const dated = names.map((name) => ({ name, ms: statSync(join(this.#folder, name)).mtimeMs }));
    const oldest = dated.toSorted((one, other) => one.ms - other.ms).slice(0, names.length - KEPT_MAX);
    for (const { name } of oldest) rmSync(join(this.#folder, name), { force: true });
  }
}
