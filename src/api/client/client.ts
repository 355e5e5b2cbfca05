import { CulvertError, InputError } from '../../errors.ts';
import type {
  ChangeBody,
  CreateBody,
  EpochResource,
  EventResource,
  FirecrackerResource,
  HostResource,
  LeaseResource,
  MeshBody,
  MeshResource,
  ReconcileResult,
  RemovalResource,
  SandboxResource,
  ShutdownResult,
  StatusResource,
} from '../schema.ts';
import { readEvents, type StreamedEvent } from './event-source.ts';
import { HttpTransport, type Method, type Target } from './transport.ts';

export type {
  ChangeBody,
  CreateBody,
  EpochResource,
  EventResource,
  FirecrackerResource,
  HostResource,
  LeaseResource,
  MeshBody,
  MeshResource,
  ReconcileResult,
  RemovalResource,
  SandboxResource,
  ShutdownResult,
  StatusResource,
  StreamedEvent,
  Target,
};
export { CulvertError, InputError };

/** ms: a purge of ten thousand sandboxes takes some seconds */
const TIMEOUT_MS = 60_000;

/**
 * A daemon's API. Every method throws what the daemon says as a CulvertError with the daemon's code and field (an
 * InputError where the caller is to blame and nothing was changed), `daemon_unreachable` where it does not answer, and
 * `daemon_timeout` where it takes too long.
 *
 * ```ts
 * using culvert = new CulvertClient({ socketPath: '/run/culvert/api.sock' });
 * const [sandbox] = await culvert.create({ id: 'build-42', topology: 'microvm' });
 * ```
 */
export class CulvertClient implements Disposable {
  readonly #transport: HttpTransport;
  readonly #timeoutMs: number;

  constructor(target: Target, { timeoutMs = TIMEOUT_MS }: { readonly timeoutMs?: number } = {}) {
    this.#transport = new HttpTransport(target);
    this.#timeoutMs = timeoutMs;
  }

  /** Creates one sandbox or `count` of them, all or none. */
  async create(request: CreateBody): Promise<SandboxResource[]> {
    const { sandboxes } = await this.#call<{ sandboxes: SandboxResource[] }>('POST', '/v1/sandboxes', request);
    return sandboxes;
  }

  async list(): Promise<SandboxResource[]> {
    return (await this.#call<{ sandboxes: SandboxResource[] }>('GET', '/v1/sandboxes')).sandboxes;
  }

  inspect(id: string): Promise<SandboxResource> {
    return this.#call('GET', `/v1/sandboxes/${encodeURIComponent(id)}`);
  }

  /**
   * What Firecracker is to be given for the guest of a `microvm` sandbox.
   *
   * @throws InputError `not_a_microvm`
   */
  firecracker(id: string): Promise<FirecrackerResource> {
    return this.#call('GET', `/v1/sandboxes/${encodeURIComponent(id)}/firecracker`);
  }

  /** Changes parts of rates and policy while the sandbox runs; what is absent stays, and null takes away. */
  update(id: string, change: ChangeBody): Promise<SandboxResource> {
    return this.#call('PATCH', `/v1/sandboxes/${encodeURIComponent(id)}`, change);
  }

  /** Cuts off sandboxes, all or none; what they had is cleaned up after. */
  async remove(ids: readonly string[]): Promise<RemovalResource[]> {
    return (await this.#call<{ removed: RemovalResource[] }>('DELETE', '/v1/sandboxes', { ids })).removed;
  }

  async leases(): Promise<LeaseResource[]> {
    return (await this.#call<{ leases: LeaseResource[] }>('GET', '/v1/leases')).leases;
  }

  /** @throws InputError `lease_unknown` for a slot that is free */
  lease(slot: number): Promise<LeaseResource> {
    return this.#call('GET', `/v1/leases/${slot}`);
  }

  release(slot: number, options: { readonly force: boolean }): Promise<LeaseResource> {
    return this.#call('POST', `/v1/leases/${slot}/release`, options);
  }

  /** Hosts of the cluster. @throws InputError `no_cluster` */
  async hosts(): Promise<HostResource[]> {
    return (await this.#call<{ hosts: HostResource[] }>('GET', '/v1/hosts')).hosts;
  }

  /** Takes a host out of the cluster that is gone for good. @throws InputError `host_unknown`; CulvertError `host_alive` */
  async removeHost(name: string): Promise<void> {
    await this.#call('DELETE', `/v1/hosts/${encodeURIComponent(name)}`);
  }

  reconcile(options: { readonly dryRun: boolean }): Promise<ReconcileResult> {
    return this.#call('POST', '/v1/reconcile', options);
  }

  status(): Promise<StatusResource> {
    return this.#call('GET', '/v1/status');
  }

  /** How the hosts send to each other, as this one knows it. */
  mesh(): Promise<MeshResource> {
    return this.#call('GET', '/v1/mesh');
  }

  /** Wishes that they send otherwise; every host goes there by itself. */
  changeMesh(wish: MeshBody): Promise<EpochResource> {
    return this.#call('PATCH', '/v1/mesh', wish);
  }

  /** Has the host take no new sandboxes, until {@link undrain}. */
  drain(): Promise<StatusResource> {
    return this.#call('POST', '/v1/drain', {});
  }

  /** Has it take them again. */
  undrain(): Promise<StatusResource> {
    return this.#call('DELETE', '/v1/drain');
  }

  /** Stops the daemon; it answers before it is gone. */
  shutdown(options: { readonly purge: boolean }): Promise<ShutdownResult> {
    return this.#call('POST', '/v1/shutdown', options);
  }

  /** What happens from now on, or after the event `after`; ends when the daemon does, and with `signal`; `stream_cut` otherwise. */
  async *events({
    after,
    signal,
  }: {
    readonly after?: string;
    readonly signal?: AbortSignal;
  } = {}): AsyncGenerator<StreamedEvent, void> {
    const response = await this.#transport.open({
      method: 'GET',
      path: '/v1/events',
      ...(after !== undefined && { headers: { 'last-event-id': after } }),
      ...(signal && { signal }),
    });
    try {
      yield* readEvents(response as AsyncIterable<Buffer>);
    } catch (cause) {
      if (signal?.aborted === true) return;
      if (cause instanceof CulvertError) throw cause;
      const message = 'Cannot go on with the event stream: it was cut; open another after the last event’s id';
      throw new CulvertError('stream_cut', message, { cause });
    } finally {
      response.destroy();
    }
  }

  /** Metrics in the Prometheus text format. */
  metrics(): Promise<string> {
    return this.#transport.text({ method: 'GET', path: '/metrics', timeoutMs: this.#timeoutMs });
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The daemon is of this version: what it answers has the shape that its schema says. */
  async #call<Result>(method: Method, path: string, body?: unknown): Promise<Result> {
    const timeoutMs = this.#timeoutMs;
    return (await this.#transport.json({ method, path, body, timeoutMs })) as Result;
  }
}
