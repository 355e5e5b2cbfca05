import { Worker } from 'node:worker_threads';
import { CulvertError, InputError } from '../errors.ts';
import type { SandboxId, Slot } from '../ipam/lease.ts';
import type { MeshOrders } from '../mesh/host-mesh.ts';
import type { PeerChange } from '../mesh/peers.ts';
import type { MemberNews, OwnMember } from '../sandbox/groups.ts';
import { errorOf } from '../wire-error.ts';
import type { ThreadOptions } from './core-options.ts';
import type {
  CreateRequest,
  CulvertEvent,
  Engine,
  MemberSource,
  MeshSource,
  SandboxChange,
  Status,
  Steered,
} from './engine.ts';
import { Listeners } from './listeners.ts';
import { AnsweredNames } from './names/answered.ts';
import { Outbox } from './outbox.ts';
import { ProbeSockets } from './probes/sockets.ts';
import { WatchedTunnels } from './tunnels/watched-tunnels.ts';
import type { Answer, Call, Method, Notice } from './wire.ts';

/** Calls that may wait for the kernel thread at one time; more are refused at once. */
const MAX_CALLS = 10_000;

type Waiting = { readonly resolve: (result: never) => void; readonly reject: (error: Error) => void };

/** A kernel thread that loads its program and waits for what to do; until then it keeps no process running. */
export function loadKernelThread(): Worker {
  const thread = new Worker(new URL('kernel-thread.ts', import.meta.url), { name: 'culvert-kernel' });
  thread.unref();
  return thread;
}

/**
 * Lets go of a thread that no engine was started on, and of none else. Resolves when it is gone: a process that ends
 * while a thread of it loads the bindings to libc is ended by them, as a crash.
 */
export async function dismissKernelThread(thread: Worker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  thread.once('exit', () => resolve());
  if (thread.threadId < 0) return;
  thread.ref();
  thread.postMessage('close');
  await promise;
}

/** The engine as the main thread sees it: each call goes to the kernel thread and its answer comes back. */
export class ThreadEngine implements Engine, MemberSource, MeshSource {
  readonly #worker: Worker;
  readonly names = new AnsweredNames();
  readonly probes = new ProbeSockets();
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Listeners();
  readonly tunnels = new WatchedTunnels((event) => this.#listeners.publish(event));
  /** What nobody has listened to yet. */
  #members: OwnMember[] = [];
  #memberListener: ((members: readonly OwnMember[]) => void) | undefined;
  readonly #calls = new Outbox<Call>((calls) => this.#worker.postMessage(calls));
  readonly #ready = Promise.withResolvers<void>();
  /** Resolves when the kernel thread has ended, with the reason where nobody had asked it to. */
  readonly ended: Promise<CulvertError | undefined>;
  #isClosing = false;
  #lastCall = 0;
  #failure: CulvertError | undefined;

  private constructor(worker: Worker, held: Disposable) {
    this.#worker = worker;
    worker.on('message', (messages: readonly (Answer | Notice)[]) => {
      for (const message of messages) this.#receive(message);
    });
    worker.on('error', (error) => this.#fail(error));
    this.ended = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#fail(new Error('the kernel thread has ended, as it does when the daemon stops'));
        held[Symbol.dispose]();
        resolve(this.#isClosing ? undefined : this.#failure);
      });
    });
  }

  /**
   * Starts the engine on its thread; it is ready, every sandbox of an earlier run adopted.
   *
   * @param thread of {@link loadKernelThread}
   * @param held is let go of when the thread has ended
   * @throws CulvertError of whatever kept it from starting
   */
  static async start(thread: Worker, options: ThreadOptions, held: Disposable): Promise<ThreadEngine> {
    const engine = new ThreadEngine(thread, held);
    thread.ref();
    thread.postMessage(options);
    await engine.#ready.promise;
    return engine;
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

  async status(): Promise<Status> {
    const status = await this.#call<Status>('status');
    const { counts } = this.names;
    const problems = [...status.problems, ...this.names.problems(), ...this.tunnels.problems()];
    return { ...status, problems, ...(counts === undefined ? {} : { names: counts }) };
  }

  updatePeers(changes: readonly PeerChange[], isAll: boolean): Promise<void> {
    return this.#call('updatePeers', changes, isAll);
  }

  watchMembers(listener: (members: readonly OwnMember[]) => void): void {
    this.#memberListener = listener;
    if (this.#members.length > 0) listener(this.#members);
    this.#members = [];
  }

  updateMembers(news: readonly MemberNews[]): Promise<void> {
    return this.#call('updateMembers', news);
  }

  steer(orders: MeshOrders): Promise<Steered> {
    return this.#call('steer', orders);
  }

  courses(): ReturnType<MeshSource['courses']> {
    return this.#call('courses');
  }

  traffic(): ReturnType<MeshSource['traffic']> {
    return this.#call('traffic');
  }

  mesh(): ReturnType<Engine['mesh']> {
    return Promise.reject(noCluster());
  }

  changeMesh(): ReturnType<Engine['changeMesh']> {
    return Promise.reject(noCluster());
  }

  hosts(): ReturnType<Engine['hosts']> {
    return Promise.reject(noCluster());
  }

  removeHost(): Promise<void> {
    return Promise.reject(noCluster());
  }

  setDraining(isDraining: boolean): Promise<void> {
    return this.#call('setDraining', isDraining);
  }

  purge(): Promise<void> {
    return this.#call('purge');
  }

  subscribe(listener: (event: CulvertEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all([this.names.close(), this.probes.close(), this.tunnels.close()]);
    this.#calls.flush();
    this.#worker.postMessage('close');
    await this.ended;
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
      // all that came in by one turn of the event loop
      if (this.#calls.isEmpty) setImmediate(() => this.#calls.flush());
      this.#calls.add(call);
    });
  }

  #receive(message: Answer | Notice): void {
    if ('notice' in message) {
      this.#note(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('error' in message) waiting?.reject(errorOf(message.error));
    else waiting?.resolve(message.result as never);
  }

  #note(notice: Notice): void {
    switch (notice.notice) {
      case 'ready':
        this.names.hold(notice.names);
        this.probes.hold(notice.probes);
        this.#ready.resolve();
        break;
      case 'failed':
        this.#ready.reject(errorOf(notice.error));
        break;
      case 'members':
        if (this.#memberListener === undefined) this.#members.push(...notice.members);
        else this.#memberListener(notice.members);
        break;
      case 'event':
        this.#listeners.publish(notice.event);
        break;
      case 'problem':
        this.#listeners.publish({
          type: 'daemon.problem',
          message: notice.error.message,
          data: { code: notice.error.code },
        });
        break;
    }
  }

  #fail(cause: Error): void {
    this.#failure ??= new CulvertError('engine_stopped', `Cannot reach the kernel: ${cause.message}`, { cause });
    this.#ready.reject(this.#failure);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}

function noCluster(): InputError {
  return new InputError(
    'no_cluster',
    'Cannot tell of other hosts: this one is in no cluster; start it with --registry',
  );
}
