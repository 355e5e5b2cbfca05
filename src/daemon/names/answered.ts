import { closeSync } from 'node:fs';
import type { Counts } from '../../dns/desk.ts';
import type { Names } from '../../dns/names.ts';
import { type NameSockets, Responder } from '../../dns/responder.ts';
import type { Problem } from '../../sandbox/event.ts';

/** What the main thread has to do with names: the sockets that the kernel thread has opened, and who answers at them. */
export class AnsweredNames {
  #sockets: NameSockets | undefined;
  #responder: Responder | undefined;

  /** @param sockets its own from now on; none where they could not be opened */
  hold(sockets: NameSockets | undefined): void {
    this.#sockets = sockets;
  }

  /** Begins to answer, once. What was asked since the sockets were opened has waited in them. */
  begin(names: Names): void {
    if (this.#sockets === undefined) return;
    this.#responder = new Responder(names, this.#sockets);
    this.#sockets = undefined;
  }

  /** Absent where nothing is answered. */
  get counts(): Counts | undefined {
    return this.#responder?.counts;
  }

  problems(): Problem[] {
    const reason = this.#responder?.failure;
    return reason === undefined
      ? []
      : [{ code: 'names_unanswered', message: `Could not answer for a name: ${reason}` }];
  }

  /** Resolves when the sockets are gone. */
  async close(): Promise<void> {
    const [sockets, responder] = [this.#sockets, this.#responder];
    this.#sockets = undefined;
    this.#responder = undefined;
    if (sockets !== undefined) for (const fd of [sockets.udp, sockets.tcp]) closeSync(fd);
    await responder?.close();
  }
}
