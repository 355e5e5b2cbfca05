import { statSync } from 'node:fs';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import { closeService, openService, type ServiceSockets } from '../../linux/inet/service.ts';
import { ROUTER } from '../../plan/state.ts';
import type { Problem } from '../../sandbox/event.ts';

/** RFC 1035, 4.2 */
const DNS_PORT = 53;

/**
 * The sockets that names are asked at. Only who can enter the router namespace can open them, and whoever has their
 * descriptors can use them: the kernel thread does the one, and the main thread, which may wait for the network, the other.
 */
export class OpenedNames implements Disposable {
  readonly #pin: string;
  readonly #namespace: number | undefined;
  readonly #refusal: string | undefined;
  #sockets: ServiceSockets | undefined;

  /** Where they cannot be opened all else goes on without, and {@link problems} says so. */
  constructor(kernel: Kernel, resolver: Ipv4) {
    this.#pin = kernel.pin(ROUTER);
    this.#namespace = namespaceAt(this.#pin);
    try {
      this.#sockets = kernel.inside(ROUTER, () => openService(resolver, DNS_PORT));
    } catch (error) {
      if (!(error instanceof CulvertError)) throw error;
      this.#refusal = error.message;
    }
  }

  /** Once; they are the caller's to close from then on. */
  take(): ServiceSockets | undefined {
    const sockets = this.#sockets;
    this.#sockets = undefined;
    return sockets;
  }

  problems(): Problem[] {
    const reason =
      this.#refusal ?? (namespaceAt(this.#pin) === this.#namespace ? undefined : 'the router namespace is another');
    if (reason === undefined) return [];
    const message = `No sandbox is told names until the daemon is started again: ${reason}`;
    return [{ code: 'names_unanswered', message }];
  }

  [Symbol.dispose](): void {
    const sockets = this.take();
    if (sockets !== undefined) closeService(sockets);
  }
}

/** What tells one namespace from all others that are there at the same time; undefined where none is pinned. */
function namespaceAt(pin: string): number | undefined {
  return statSync(pin, { throwIfNoEntry: false })?.ino;
}
