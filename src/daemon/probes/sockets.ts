import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { PROBE_PORT } from '../../mesh/link.ts';
import type { Leg } from '../../mesh/way.ts';
import type { ProbeDescriptors } from './legs.ts';

export type Hear = (leg: Leg, from: Ipv4, bytes: Uint8Array) => void;

/** The sockets that the kernel thread has opened, as the main thread asks and answers by them. */
export class ProbeSockets {
  #descriptors: ProbeDescriptors | undefined;
  readonly #sockets = new Map<Leg, Socket>();

  /** @param descriptors its own from now on; none on a host that is in no cluster */
  hold(descriptors: ProbeDescriptors | undefined): void {
    this.#descriptors = descriptors;
  }

  /** Begins to listen, once. */
  async begin(hear: Hear): Promise<void> {
    const descriptors = Object.entries(this.#descriptors ?? {}) as [Leg, number][];
    this.#descriptors = undefined;
    await Promise.all(descriptors.map(([leg, fd]) => this.#listen(leg, fd, hear)));
  }

  /** What cannot be sent is lost, as any datagram may be. */
  send(leg: Leg, to: Ipv4, bytes: Uint8Array): void {
    this.#sockets.get(leg)?.send(bytes, PROBE_PORT, formatIpv4(to), () => undefined);
  }

  /** Resolves when the sockets are gone. */
  async close(): Promise<void> {
    for (const fd of Object.values(this.#descriptors ?? {})) closeSync(fd);
    this.#descriptors = undefined;
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(
      sockets.map(async (socket) => {
        const closed = once(socket, 'close');
        socket.close();
        await closed;
      }),
    );
  }

  async #listen(leg: Leg, fd: number, hear: Hear): Promise<void> {
    const socket = createSocket('udp4');
    // an ICMP error says of a packet that is lost what its silence says too
    socket.on('error', () => undefined);
    socket.on('message', (bytes, { address, port }) => {
      if (port === PROBE_PORT) hear(leg, parseIpv4(address), bytes);
    });
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    this.#sockets.set(leg, socket);
  }
}
