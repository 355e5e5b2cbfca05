import { setTimeout as pause } from 'node:timers/promises';
import { ExponentialBackoff, noop } from 'cockatiel';
import { Etcd3, GRPCOutOfRangeError, type IKeyValue, type IOptions, type IRequestOp, Range } from 'etcd3';
import { CulvertError } from '../../errors.ts';
import { assertWithinLimits } from '../limits.ts';
import type { Condition, Entry, Lease, News, Registry, Revision, Write } from '../registry.ts';
import { etcdFailure } from './failure.ts';
import { KeepAlive } from './keep-alive.ts';
import { isAsTold, isNewestAsTold, type Print, Told } from './told.ts';
import { unresolved } from './unresolved.ts';
import { Watch } from './watch.ts';

export type EtcdOptions = {
  /** `host:port` of each member that may be asked */
  readonly endpoints: readonly string[];
  /** before each key */
  readonly namespace: string;
  readonly user?: { readonly name: string; readonly password: string };
  /** PEM; where it is there the connection is TLS's */
  readonly tls?: { readonly ca: Buffer; readonly certificate?: Buffer; readonly key?: Buffer };
  /** of each call */
  readonly timeout_ms?: number;
};

const TIMEOUT_MS = 3000;
/** ms between attempts to watch again; a timer of the library’s keeps a process that ends waiting for as long. */
const WATCH_BACKOFF = { initialDelay: 100, maxDelay: 2000 };
/** How long a follower waits before it asks again where the registry is away. */
const RETRY_MS = 500;
/** Of what was to be written, in a message. */
const KEYS_SHOWN = 3;

/** A connection that is dead is found by pings; etcd ends one that has more of them than one in five seconds. */
const PINGS = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 5_000 };
/** bytes: all that there is below a prefix is one message, and the library takes 4 MiB by itself: some 13,000 hosts */
const MESSAGE_MAX = { 'grpc.max_receive_message_length': 64 * 1024 * 1024 };

/** etcd, version 3. */
export class EtcdRegistry implements Registry {
  readonly name: string;
  readonly #namespace: string;
  readonly #endpoints: readonly string[];
  readonly #timeout_ms: number;
  readonly #connect: () => Etcd3;
  readonly #client: Etcd3;
  readonly #keepAlive: KeepAlive;
  /** for watches, which share a stream; another after each time that etcd was away */
  #watching: Etcd3;
  readonly #watches = new Set<Watch>();
  readonly #closed = new AbortController();
  #isAway = false;

  constructor(options: EtcdOptions) {
    const { endpoints, namespace, timeout_ms = TIMEOUT_MS } = options;
    this.name = `etcd://${endpoints.join(',')}/${namespace}`;
    this.#namespace = namespace;
    this.#endpoints = endpoints;
    this.#timeout_ms = timeout_ms;
    this.#connect = () => new Etcd3(clientOptions(options, timeout_ms));
    this.#client = this.#connect();
    this.#keepAlive = new KeepAlive(() => this.#client.leaseClient.leaseKeepAlive());
    this.#watching = this.#connect();
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#ask(`read ${key}`, () => this.#client.kv.range({ key: this.#key(key) }));
    return kvs[0] === undefined ? undefined : this.#entry(kvs[0]);
  }

  async list(prefix: string): ReturnType<Registry['list']> {
    const { start: key, end: range_end } = Range.prefix(this.#namespace + prefix);
    const { kvs, header } = await this.#ask(`list ${prefix}`, () => this.#client.kv.range({ key, range_end }));
    return { entries: kvs.map((kv) => this.#entry(kv)), revision: Number(header.revision) };
  }

  async commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Revision | undefined> {
    assertWithinLimits(conditions, writes);
    const request = {
      compare: conditions.map(({ key, revision }) => ({
        key: this.#key(key),
        target: 'Mod' as const,
        result: 'Equal' as const,
        mod_revision: revision,
      })),
      success: writes.map((write) => this.#operation(write)),
    };
    const attempt = `write ${namesOf(writes)}`;
    // not a second time: the first may have been done
    const { succeeded, header } = await this.#call(attempt, () => this.#client.kv.txn(request));
    return succeeded ? Number(header.revision) : undefined;
  }

  async grant(ttl_ms: number): Promise<Lease> {
    const client = this.#client.leaseClient;
    const { ID } = await this.#ask('get a lease', () => client.leaseGrant({ TTL: Math.ceil(ttl_ms / 1000) }));
    return {
      id: ID,
      ttl_ms,
      keepAlive: () => this.#ask('keep a lease alive', (signal) => this.#keepAlive.ask(ID, signal)),
      revoke: async () => {
        await this.#ask('end a lease', () => client.leaseRevoke({ ID })).catch((error: unknown) => {
          if (!(error instanceof CulvertError && error.code === 'registry_lease_lost')) throw error;
        });
      },
    };
  }

  async *follow(prefix: string, signal: AbortSignal): AsyncIterable<News> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    while (!ended.aborted) {
      // oxlint-disable no-await-in-loop -- one after the other
      const all = await this.#listWhenThere(prefix, ended);
      if (all === undefined) return;
      yield { kind: 'all', ...all };
      using watch = this.#watch(prefix, new Told(all.entries, all.revision));
      for (;;) {
        const changes = await watch.next(ended);
        if (changes === undefined || ended.aborted) break;
        yield { kind: 'changes', changes };
      }
      // oxlint-enable no-await-in-loop
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#keepAlive.close();
    this.#watching.close();
    this.#client.close();
  }

  async #listWhenThere(prefix: string, ended: AbortSignal): Promise<Awaited<ReturnType<Registry['list']>> | undefined> {
    while (!ended.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        return await this.list(prefix);
      } catch (error) {
        if (!(error instanceof CulvertError && error.code === 'registry_unavailable')) throw error;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await pause(RETRY_MS, undefined, { signal: ended }).catch(() => undefined);
      }
    }
    return undefined;
  }

  #watch(prefix: string, told: Told): Watch {
    const watch = new Watch({
      name: this.name,
      namespace: this.#namespace,
      prefix,
      told,
      connected: (one, print) => void this.#compare(one, () => this.#isAsTold(one, print)),
      rested: (one, print) => void this.#compare(one, () => this.#isNewestAsTold(one, print)),
      tokenInvalid: () => this.#renew(),
      gone: (one) => void this.#watches.delete(one),
    });
    this.#watches.add(watch);
    watch.attach(this.#watching);
    return watch;
  }

  /** What changes nothing a second time may be asked of each member. */
  async #ask<T>(attempt: string, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let left = this.#endpoints.length; ; left--) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        return await this.#call(attempt, body);
      } catch (error) {
        if (left <= 1 || !(error instanceof CulvertError && error.code === 'registry_unavailable')) throw error;
      }
    }
  }

  async #call<T>(attempt: string, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(this.#timeout_ms);
    const { promise: timeout, reject } = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => reject(new Error(`no answer in ${this.#timeout_ms} ms`)), { once: true });
    try {
      const result = await Promise.race([body(signal), timeout]);
      if (this.#isAway) this.#isBack();
      return result;
    } catch (error) {
      const failure = etcdFailure(attempt, this.name, error);
      if (failure.code !== 'registry_unavailable') throw failure;
      this.#isAway = true;
      throw etcdFailure(attempt, this.name, error, await unresolved(this.#endpoints));
    }
  }

  /** A stream of a member that was cut off may go on and say nothing, so each watch goes on over another one. */
  #isBack(): void {
    this.#isAway = false;
    this.#renew();
  }

  /**
   * What is back may have been put back from a backup, and written to since: its revisions then mean something else. To
   * ask for what it had costs little beside reading everything again, which a thousand hosts would do at once.
   */
  async #compare(watch: Watch, ask: () => Promise<boolean>): Promise<void> {
    try {
      if (!(await ask())) watch.miss();
    } catch {
      // away again, and it is compared when it is back; or it refuses, as it does who follows
    }
  }

  async #isAsTold({ prefix }: Watch, print: Print): Promise<boolean> {
    const { start: key, end: range_end } = Range.prefix(this.#namespace + prefix);
    const { revision } = print;
    const newest = { sort_target: 'Mod', sort_order: 'Descend', limit: 1 } as const;
    const found = await this.#ask(`compare ${prefix}`, () =>
      this.#client.kv.range({ key, range_end, revision, ...newest }).catch(undefinedWhereOutOfRange),
    );
    const [kv] = found?.kvs ?? [];
    const entry = kv === undefined ? undefined : this.#entry(kv);
    return found !== undefined && isAsTold(print, { count: Number(found.count), entry });
  }

  /** For this etcd looks at one key: for the newest of all at each, and all hosts ask where many write. */
  async #isNewestAsTold(watch: Watch, print: Print): Promise<boolean> {
    const { revision, sums } = print;
    const [key] = sums.keys();
    if (key === undefined) return this.#isAsTold(watch, print);
    const found = await this.#ask(`compare ${key}`, () =>
      this.#client.kv.range({ key: this.#key(key), revision }).catch(undefinedWhereOutOfRange),
    );
    const [kv] = found?.kvs ?? [];
    return isNewestAsTold(print, kv === undefined ? undefined : this.#entry(kv));
  }

  #renew(): void {
    const former = this.#watching;
    if (this.#closed.signal.aborted) return;
    this.#watching = this.#connect();
    for (const watch of this.#watches) watch.attach(this.#watching);
    former.close();
  }

  #key(key: string): Buffer {
    return Buffer.from(this.#namespace + key);
  }

  #entry({ key, value, mod_revision }: IKeyValue): Entry {
    return {
      key: key.toString().slice(this.#namespace.length),
      value: value.toString(),
      revision: Number(mod_revision),
    };
  }

  #operation({ key, ...write }: Write): IRequestOp {
    if (write.value === undefined) return { request_delete_range: { key: this.#key(key) } };
    const lease = 'lease' in write ? write.lease : undefined;
    const value = Buffer.from(write.value);
    return { request_put: { key: this.#key(key), value, ...(lease === undefined ? {} : { lease: lease.id }) } };
  }
}

/** The first of them, for a message. */
function namesOf(writes: readonly Write[]): string {
  const some = writes.slice(0, KEYS_SHOWN).map(({ key }) => key);
  return writes.length > some.length ? `${some.join(', ')} and ${writes.length - some.length} more` : some.join(', ');
}

/** Where it has no such revision yet, or has it no more. */
function undefinedWhereOutOfRange(error: unknown): undefined {
  if (error instanceof GRPCOutOfRangeError) return undefined;
  throw error;
}

function clientOptions({ endpoints, user, tls }: EtcdOptions, timeout_ms: number): IOptions {
  const scheme = tls === undefined ? 'http' : 'https';
  return {
    hosts: endpoints.map((endpoint) => `${scheme}://${endpoint}`),
    dialTimeout: timeout_ms,
    grpcOptions: { ...PINGS, ...MESSAGE_MAX },
    // Deadlines are of the wall clock, which somebody may set: time is kept by who calls.
    ...(user === undefined ? {} : { auth: { username: user.name, password: user.password } }),
    ...(tls === undefined ? {} : { credentials: credentialsOf(tls) }),
    faultHandling: { global: noop, watchBackoff: new ExponentialBackoff(WATCH_BACKOFF).next() },
  };
}

function credentialsOf({
  ca,
  certificate,
  key,
}: NonNullable<EtcdOptions['tls']>): NonNullable<IOptions['credentials']> {
  return {
    rootCertificate: ca,
    ...(key === undefined ? {} : { privateKey: key }),
    ...(certificate === undefined ? {} : { certChain: certificate }),
  };
}
