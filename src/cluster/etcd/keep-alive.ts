import { castGrpcError, type Etcd3, EtcdLeaseInvalidError } from 'etcd3';

type Stream = Awaited<ReturnType<Etcd3['leaseClient']['leaseKeepAlive']>>;
type Waiting = { readonly resolve: (ttl_s: number) => void; readonly reject: (error: Error) => void };

/**
 * Keeps leases alive over one stream, that is opened when it is needed and again where it has ended: with thousands of
 * hosts a stream for each time would be most of what etcd has to do.
 */
export class KeepAlive {
  readonly #open: () => Promise<Stream>;
  #stream: Promise<Stream> | undefined;
  /** by the lease, in the order they asked */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(open: () => Promise<Stream>) {
    this.#open = open;
  }

  /** @throws EtcdLeaseInvalidError where the lease has ended; what the stream ends with, or that `signal` did */
  async ask(id: string, signal: AbortSignal): Promise<void> {
    const opening = (this.#stream ??= this.#connect());
    // what does not answer one does not answer the others, and an answer that comes later would be taken for the next
    const late = (): void => this.#end(opening, new Error('no answer in time'));
    signal.addEventListener('abort', late, { once: true });
    try {
      const stream = await opening;
      if (this.#stream !== opening) throw new Error('the stream has ended');
      const answer = this.#answer(id);
      stream.write({ ID: id });
      if ((await answer) <= 0) throw new EtcdLeaseInvalidError(id);
    } finally {
      signal.removeEventListener('abort', late);
    }
  }

  /** s that the lease has then */
  #answer(id: string): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) this.#waiting.set(id, [{ resolve, reject }]);
    else waiting.push({ resolve, reject });
    return promise;
  }

  close(): void {
    if (this.#stream !== undefined) this.#end(this.#stream, new Error('it was closed'));
  }

  #connect(): Promise<Stream> {
    const opening: Promise<Stream> = this.#open().then((stream) => {
      stream.on('data', ({ ID, TTL }) => this.#hear(ID, Number(TTL)));
      stream.on('error', (error) => this.#end(opening, castGrpcError(error)));
      stream.on('end', () => this.#end(opening, new Error('the stream has ended')));
      return stream;
    });
    opening.catch((error: Error) => this.#end(opening, error));
    return opening;
  }

  #hear(id: string, ttl_s: number): void {
    const waiting = this.#waiting.get(id);
    waiting?.shift()?.resolve(ttl_s);
    if (waiting?.length === 0) this.#waiting.delete(id);
  }

  #end(opening: Promise<Stream>, error: Error): void {
    if (this.#stream !== opening) return;
    this.#stream = undefined;
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const { reject } of all) reject(error);
    opening.then(
      (stream) => stream.cancel(),
      // there is none to end
      () => undefined,
    );
  }
}
