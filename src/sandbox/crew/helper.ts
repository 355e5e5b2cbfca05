import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { keepApart } from '../../linux/processors.ts';
import { errorOf, type WireError } from '../../wire-error.ts';
import type { Layout } from '../topology/layout.ts';
import type { Network } from '../topology/network.ts';
import type { Batch } from './batch.ts';
import type { Task, Urgency } from './job.ts';

/** A job as it goes to the helper. */
export type Given = {
  readonly id: number;
  readonly task: Task;
  readonly networks: readonly Network[];
  readonly cells: Int32Array<SharedArrayBuffer>;
  readonly urgency: Urgency;
};

/** Links are of another size from now on, bytes. */
export type Resized = { readonly mtu: number };

/** Why an item of a job failed. */
type Failure = { readonly id: number; readonly index: number; readonly error: WireError };

export type HelperData = {
  readonly pins: string;
  readonly layout: Layout;
  readonly port: MessagePort;
  /** what it tells of itself, see {@link TOLD} */
  readonly told: Int32Array<SharedArrayBuffer>;
};

/** Which cell has what: how many items it has done, and its thread's id, 0 before it has begun. */
export const TOLD = { done: 0, thread: 1 } as const;

/** A thread that helps the one that starts it, which must be in the root namespace then. */
export class Helper implements Disposable {
  readonly #thread: Worker;
  readonly #port: MessagePort;
  readonly #told = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));

  /** @param lost hears when the thread has ended by itself; it is not called while the caller blocks */
  constructor(pins: string, layout: Layout, lost: (reason: string) => void) {
    const { port1, port2: port } = new MessageChannel();
    const workerData: HelperData = { pins, layout, port, told: this.#told };
    this.#port = port1;
    const url = new URL('helper-thread.ts', import.meta.url);
    // as `top -H` shows it, in 15 characters
    this.#thread = new Worker(url, { name: 'culvert-helper', workerData, transferList: [port] });
    this.#thread.once('error', (error: unknown) => lost(error instanceof Error ? error.message : String(error)));
    this.#thread.once('exit', () => lost('its thread has ended'));
    this.#thread.unref();
    this.#port.unref();
  }

  give({ id, job, task, networks }: Batch, urgency: Urgency): void {
    const given: Given = { id, task, networks, cells: job.cells, urgency };
    this.#port.postMessage(given);
  }

  /** @param mtu bytes, of all links that it makes or compares from its next item on */
  resize(mtu: number): void {
    this.#port.postMessage({ mtu } satisfies Resized);
  }

  /** Keeps it and the calling thread on processors of their own, where they can be, until that is let go. */
  keepApart(): Disposable | undefined {
    const thread = Atomics.load(this.#told, TOLD.thread);
    return thread === 0 ? undefined : keepApart(thread);
  }

  /** How many items it has done so far, whatever came of them. */
  get done(): number {
    return Atomics.load(this.#told, TOLD.done);
  }

  /** Every failure that was not heard of yet: that of an item is here before the item's outcome is. */
  *failures(): Generator<{ readonly id: number; readonly index: number; readonly error: Error }> {
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      const { id, index, error } = next.message as Failure;
      yield { id, index, error: errorOf(error) };
    }
  }

  /**
   * Lets the thread end by itself, after the item that it works on, and the process wait for that: while a thread loads
   * the bindings to libc a process that ends is ended by them, as a crash.
   */
  [Symbol.dispose](): void {
    this.#thread.removeAllListeners();
    // whatever it says now comes too late to matter
    this.#thread.on('error', () => undefined);
    this.#thread.ref();
    this.#port.postMessage('close');
  }
}
