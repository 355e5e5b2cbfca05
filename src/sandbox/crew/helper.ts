import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { errorOf, type WireError } from '../../wire-error.ts';
import type { Network } from '../topology/desired.ts';
import type { Layout } from '../topology/layout.ts';
import type { Job, Task } from './job.ts';

/** Somebody waits for it. */
export const URGENT = 1;
/** Nobody does. */
export const IDLE = 0;

/** A job as it goes to the helper. */
export type Given = {
  readonly id: number;
  readonly task: Task;
  readonly networks: readonly Network[];
  readonly cells: Int32Array<SharedArrayBuffer>;
  readonly urgency: typeof URGENT | typeof IDLE;
};

/** Why an item of a job failed. */
type Failure = { readonly id: number; readonly index: number; readonly error: WireError };

export type HelperData = { readonly pins: string; readonly layout: Layout; readonly port: MessagePort };

/** A thread that helps the one that starts it, which must be in the root namespace then. */
export class Helper implements Disposable {
  readonly #thread: Worker;
  readonly #port: MessagePort;

  /** @param lost hears when the thread has ended by itself; it is not called while the caller blocks */
  constructor(pins: string, layout: Layout, lost: (reason: string) => void) {
    const { port1, port2: port } = new MessageChannel();
    const workerData: HelperData = { pins, layout, port };
    this.#port = port1;
    this.#thread = new Worker(new URL('helper-thread.ts', import.meta.url), { workerData, transferList: [port] });
    this.#thread.once('error', (error: unknown) => lost(error instanceof Error ? error.message : String(error)));
    this.#thread.once('exit', () => lost('its thread has ended'));
    this.#thread.unref();
    this.#port.unref();
  }

  give(id: number, job: Job, task: Task, networks: readonly Network[], urgency: Given['urgency']): void {
    const given: Given = { id, task, networks, cells: job.cells, urgency };
    this.#port.postMessage(given);
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
    this.#thread.ref();
    this.#port.postMessage('close');
  }
}
