import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import type { StreamReport } from './protocol.ts';

/** bytes; the kernel gives up to net.core.rmem_max, twice: a second's echoes and more */
export const RECEIVE_BYTES = 1024 * 1024;

/** ms that echoes still under way are waited for at the end */
const DRAIN_MS = 3000;
const POLL_MS = 10;
const LOST_SHOWN = 10;

type Target = { readonly to: string; readonly port: number; readonly intervalMs: number };

/** Numbered datagrams at a steady pace to an echo, and what became of each. */
export class Stream {
  readonly #socket: Socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES });
  readonly #timer: NodeJS.Timeout;
  readonly #sentMs: number[] = [];
  readonly #roundTripsMs = new Map<number, number>();
  readonly #overflowsBefore = overflows();
  #lastEchoMs: number | undefined;
  #longestSilenceMs = 0;

  constructor({ to, port, intervalMs }: Target) {
    this.#socket.on('message', (message) => this.#hear(message));
    this.#timer = setInterval(() => {
      const number = this.#sentMs.push(performance.now()) - 1;
      this.#socket.send(String(number), port, to);
    }, intervalMs);
  }

  /** Sends no more, and waits for what is under way. */
  async stop(): Promise<StreamReport> {
    clearInterval(this.#timer);
    const deadline = performance.now() + DRAIN_MS;
    while (this.#roundTripsMs.size < this.#sentMs.length && performance.now() < deadline) {
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS));
    }
    this.#socket.close();
    const times = [...this.#roundTripsMs.values()].toSorted((a, b) => a - b);
    return {
      sent: this.#sentMs.length,
      answered: this.#roundTripsMs.size,
      lost: [...this.#sentMs.keys()].filter((number) => !this.#roundTripsMs.has(number)).slice(0, LOST_SHOWN),
      longestSilenceMs: this.#longestSilenceMs,
      roundTripMs: times[Math.floor(times.length / 2)] ?? Number.NaN,
      overflows: overflows() - this.#overflowsBefore,
    };
  }

  #hear(message: Buffer): void {
    const now = performance.now();
    const { text } = JSON.parse(message.toString()) as { text: string };
    const sentMs = this.#sentMs[Number(text)];
    if (sentMs === undefined) throw new Error(`Cannot tell what ${JSON.stringify(text)} echoes`);
    if (!this.#roundTripsMs.has(Number(text))) this.#roundTripsMs.set(Number(text), now - sentMs);
    this.#longestSilenceMs = Math.max(this.#longestSilenceMs, now - (this.#lastEchoMs ?? now));
    this.#lastEchoMs = now;
  }
}

/** Datagrams that sockets of this namespace had no room for so far, proc(5) on /proc/net/snmp. */
function overflows(): number {
  const [names = [], values = []] = readFileSync('/proc/thread-self/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('RcvbufErrors')]);
}
