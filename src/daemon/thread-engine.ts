import { Worker } from 'node:worker_threads';
import { CulvertError } from '../errors.ts';
import type { SandboxId, Slot } from '../ipam/lease.ts';
import type { CoreOptions } from './core.ts';
import type { CreateRequest, CulvertEvent, Engine, SandboxChange } from './engine.ts';
import { type Answer, type Call, errorOf, type Method, type Notice } from './wire.ts';

/** Calls that may wait for the kernel thread at one time; more are refused at once. */
const MAX_CALLS = 10_000;

type Waiting = { readonly resolve: (result: never) => void; readonly reject: (error: Error) => void };

/** The engine as the main thread sees it: each call goes to the kernel thread and its answer comes back. */
export class ThreadEngine implements Engine {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: CulvertEvent) => void>();
  readonly #exited: Promise<void>;
  #lastCall = 0;
  #lastEvent = 0;
  #failure: CulvertError | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: Answer | Notice) => this.#receive(message));
    worker.on('error', (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#fail(new Error('the kernel thread has ended'));
        resolve();
      });
    });
  }

  /**
   * Starts the kernel thread; the engine is ready, every sandbox of an earlier run adopted.
   *
   * @throws CulvertError of whatever kept it from starting
   */
  static async start(options: Omit<CoreOptions, 'emit'>): Promise<ThreadEngine> {
    const worker = new Worker(new URL('kernel-thread.ts', import.meta.url), { workerData: options });
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject);
      worker.once('message', (message: Notice) => {
        if (message.notice === 'ready') resolve();
        else if ('error' in message) reject(errorOf(message.error));
      });
    });
    return new ThreadEngine(worker);
  }

  create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    return this.#call('create', requests);
  }

  update(id: SandboxId, change: SandboxChange): ReturnType<Engine['update']> {
    return this.#call('update', id, change);
  }

  remove(ids: readonly SandboxId[]): ReturnType<Engine['remove']> {
    return this.#call('remove', ids);
  }

  list(): ReturnType<Engine['list']> {
    return this.#call('list');
  }

  inspect(id: SandboxId): ReturnType<Engine['inspect']> {
    return this.#call('inspect', id);
  }

  leases(): ReturnType<Engine['leases']> {
    return this.#call('leases');
  }

  release(slot: Slot, options: { readonly force: boolean }): ReturnType<Engine['release']> {
    return this.#call('release', slot, options);
  }

  reconcile(options: { readonly dryRun: boolean }): ReturnType<Engine['reconcile']> {
    return this.#call('reconcile', options);
  }

  status(): ReturnType<Engine['status']> {
    return this.#call('status');
  }

  purge(): Promise<void> {
    return this.#call('purge');
  }

  subscribe(listener: (event: CulvertEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#worker.postMessage('close');
    await this.#exited;
  }

  #call<T>(method: Method, ...parameters: unknown[]): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiting.size >= MAX_CALLS) {
      return Promise.reject(
        new CulvertError('overloaded', `Cannot take another call: ${MAX_CALLS} wait for the kernel thread`),
      );
    }
    const call: Call = { id: ++this.#lastCall, method, parameters };
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call.id, { resolve, reject });
      this.#worker.postMessage(call);
    });
  }

  #receive(message: Answer | Notice): void {
    if ('notice' in message) {
      if (message.notice === 'event') this.#publish(message.event);
      else if (message.notice === 'problem') {
        this.#publish({ type: 'daemon.problem', message: message.error.message, data: { code: message.error.code } });
      }
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('error' in message) waiting?.reject(errorOf(message.error));
    else waiting?.resolve(message.result as never);
  }

  #publish(event: Omit<CulvertEvent, 'sequence' | 'wallMs'>): void {
    const whole = { sequence: ++this.#lastEvent, wallMs: Date.now(), ...event };
    for (const listener of this.#listeners) listener(whole);
  }

  #fail(cause: Error): void {
    this.#failure ??= new CulvertError('engine_stopped', `Cannot reach the kernel: ${cause.message}`, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}
