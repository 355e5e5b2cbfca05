import { createSocket, type Socket } from 'node:dgram';
import type { Reports, Tasks, Work } from './protocol.ts';

/** bytes; the kernel gives up to net.core.rmem_max, twice */
const RECEIVE_BYTES = 1024 * 1024;
const TICK_MS = 5;
/** Sent in one go at most: who was late sends fewer, and not all at once. */
const BURST = 10;
const ERRORS_SHOWN = 10;

/** See {@link Tasks}. */
export class Datagrams implements Work<'datagrams'> {
  readonly #task: Tasks['datagrams'];
  readonly #socket: Socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES });
  readonly #heard = new Set<number>();
  readonly #refused: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #waiting = 0;

  private constructor(task: Tasks['datagrams']) {
    this.#task = task;
    this.#socket.on('message', (message) => void this.#heard.add(message.readUInt32BE()));
  }

  static async start(task: Tasks['datagrams']): Promise<Datagrams> {
    const datagrams = new Datagrams(task);
    await new Promise<void>((resolve, reject) => {
      datagrams.#socket.once('error', reject).bind(task.port, '0.0.0.0', resolve);
    });
    return datagrams;
  }

  go(): void {
    clearInterval(this.#timer);
    let dueMs = performance.now();
    const { perSecond } = this.#task;
    this.#timer = setInterval(() => {
      const now = performance.now();
      for (let count = 0; count < BURST && dueMs <= now; count++) {
        this.#send();
        dueMs += 1000 / perSecond;
      }
      dueMs = Math.max(dueMs, now - TICK_MS);
    }, TICK_MS);
  }

  async rest(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#waiting > 0) await new Promise((resolve) => void setImmediate(resolve));
  }

  report(): Reports['datagrams'] {
    return { sent: this.#sent, heard: this.#heard.size, refused: this.#refused };
  }

  #send(): void {
    const { to, port, size } = this.#task;
    const datagram = Buffer.alloc(size);
    datagram.writeUInt32BE(this.#sent++);
    this.#waiting++;
    this.#socket.send(datagram, port, to, (error: NodeJS.ErrnoException | null) => {
      this.#waiting--;
      if (error !== null && this.#refused.length < ERRORS_SHOWN) this.#refused.push(String(error.code));
    });
  }
}
