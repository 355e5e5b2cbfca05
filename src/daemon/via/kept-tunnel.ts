import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ROUTER } from '../../plan/state.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { publicKeyOf } from '../../plan/wireguard/private-key.ts';
import { viaLink } from '../../sandbox/via.ts';
import type { Folders } from '../../tunnel/client/folders.ts';
import { connect, type Tunnel } from '../../tunnel/client/tunnel.ts';
import { viaTable } from './router-rules.ts';
import { readViaFile } from './via-file.ts';
import type { Wish } from './wish.ts';

export type KeptParts = {
  readonly wish: Wish;
  /** of the files of tunnels */
  readonly files: string;
  /** of the pins of namespaces */
  readonly pins: string;
  readonly folders: Folders;
  /** Hears with which key it begins, a public one. */
  readonly begins: (key: Key) => void;
  /** Hears that it is there, with what was done for it. */
  readonly connected: (notices: readonly string[]) => void;
  /** Hears why nothing passes by it, though it stands. */
  readonly silent: (error: Error) => void;
  /** Hears why it is not, or not any more. */
  readonly failed: (error: Error) => void;
};

/** After the first failure, twice as long after each that follows. */
const RETRY_MS = { first: 1000, most: 30_000 } as const;
/** One that was there for so long did not fail: who is root where its link is may take it away again and again. */
const LASTING_MS = 60_000;

/** A tunnel that is made again whenever it is gone, until nobody wants it any more. */
export class KeptTunnel {
  readonly #parts: KeptParts;
  readonly #over = new AbortController();
  readonly #done: Promise<void>;
  /** whether the tunnel stays when this ends */
  #stays = false;

  constructor(parts: KeptParts) {
    this.#parts = parts;
    this.#done = this.#run();
  }

  /** Takes it away. @throws AggregateError of what of it could not be */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#done;
  }

  /** Lets go of it: it stays for the next to take over. @throws AggregateError where it was being made, likewise */
  async leave(): Promise<void> {
    this.#stays = true;
    await this.end();
  }

  async #run(): Promise<void> {
    const { signal } = this.#over;
    let failures = 0;
    while (!signal.aborted) {
      const beganMs = performance.now();
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#keepOne();
      } catch (error) {
        // called off, which is as it is to be
        if (signal.aborted && !(error instanceof AggregateError)) return;
        if (signal.aborted) throw error;
        this.#parts.failed(error instanceof Error ? error : new Error(String(error)));
      }
      if (performance.now() - beganMs > LASTING_MS) failures = 0;
      const waitMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** failures++);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await pause(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** From its making to its end. @throws why it could not be made, or is gone */
  async #keepOne(): Promise<void> {
    const { signal } = this.#over;
    const tunnel = await this.#connect();
    try {
      this.#parts.connected(tunnel.notices);
      // it stands, and nobody who is in it can tell why nothing comes back
      tunnel.on('stale', () => this.#parts.silent(new Error('its peer does not answer')));
      tunnel.on('heard', () => this.#parts.connected(['its peer answers again']));
      const [reason] = (await once(tunnel, 'down', { signal })) as [string];
      throw new Error(reason);
    } finally {
      if (this.#stays) tunnel.leave();
      else tunnel.close();
    }
  }

  async #connect(): Promise<Tunnel> {
    const { wish, files, pins, folders, begins } = this.#parts;
    const { text, config } = readViaFile(files, wish.tunnel);
    begins(publicKeyOf(config.privateKey));
    return connect(
      {
        config: text,
        name: viaLink(wish.number),
        namespace: join(pins, wish.namespace),
        forwards: wish.forwards,
        ...(wish.namespace === ROUTER ? { table: viaTable(wish.number) } : {}),
        ...(wish.backend === undefined ? {} : { backend: wish.backend }),
        dns: false,
        staysAtExit: true,
        ...folders,
      },
      this.#over.signal,
    );
  }
}
