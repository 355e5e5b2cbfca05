import type { ClientHttp2Stream } from 'node:http2';
import { Pace } from '../../../src/cluster/etcd/pace.ts';
import type { Condition, Entry, Lease, News, Registry, Revision, Write } from '../../../src/cluster/registry.ts';
import { CulvertError } from '../../../src/errors.ts';
import { framed, GrpcConnection } from './grpc.ts';
import { decode, encode } from './protobuf.ts';

/* etcd's messages by their numbers, api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto. */

const RANGE = '/etcdserverpb.KV/Range';
const TXN = '/etcdserverpb.KV/Txn';
const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const REVOKE = '/etcdserverpb.Lease/LeaseRevoke';
const KEEP_ALIVE = '/etcdserverpb.Lease/LeaseKeepAlive';
const WATCH = '/etcdserverpb.Watch/Watch';
/** Compare.CompareTarget */
const MOD = 2;
/** Of a range: one of it, in falling order (RangeRequest.SortOrder) of when it was written (RangeRequest.SortTarget). */
const NEWEST = encode([3, 1], [5, 2], [6, 3]);

type Waiting = { readonly resolve: (ttl_s: number) => void; readonly reject: (error: Error) => void };

/** The stream that leases are kept alive over, and who waits for an answer, in the order they asked. */
type Kept = { readonly stream: ClientHttp2Stream; readonly waiting: Waiting[] };

/** What a follower that only counts has heard. */
export type Count = { put: number; deleted: number };

/**
 * etcd, asked for the same as by {@link EtcdRegistry} and as often, by a client that costs a tenth: so that a machine
 * can be thousands of hosts and etcd has the load of all of them. Where etcd fails so does it.
 */
export class ThinRegistry implements Registry {
  readonly name: string;
  readonly #namespace: string;
  readonly #connection: GrpcConnection;
  #kept: Kept | undefined;
  #isClosed = false;

  constructor(address: string, namespace: string) {
    this.name = address;
    this.#namespace = namespace;
    this.#connection = new GrpcConnection(address);
  }

  async get(key: string): Promise<Entry | undefined> {
    const { entries } = await this.#range(encode([1, this.#key(key)]));
    return entries[0];
  }

  list(prefix: string): ReturnType<Registry['list']> {
    return this.#range(this.#below(prefix));
  }

  async commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Revision | undefined> {
    const compare = conditions.map(
      ({ key, revision }) => [1, encode([2, MOD], [3, this.#key(key)], [6, revision])] as const,
    );
    const success = writes.map((write) => [2, this.#operation(write)] as const);
    let succeeded = false;
    let revision = 0;
    decode(await this.#connection.ask(TXN, encode(...compare, ...success)), (field, value) => {
      if (field === 1 && typeof value === 'object') revision = revisionIn(value);
      else if (field === 2) succeeded = value === 1n;
    });
    return succeeded ? revision : undefined;
  }

  async grant(ttl_ms: number): Promise<Lease> {
    let id = 0n;
    const answer = await this.#connection.ask(GRANT, encode([1, Math.ceil(ttl_ms / 1000)]));
    decode(answer, (field, value) => {
      if (field === 2 && typeof value === 'bigint') id = value;
    });
    return {
      id: String(id),
      ttl_ms,
      keepAlive: () => this.#keepAlive(id),
      revoke: async () => void (await this.#connection.ask(REVOKE, encode([1, id]))),
    };
  }

  follow(): AsyncIterable<News> {
    throw new TypeError('What is thin only counts');
  }

  /**
   * Follows as {@link EtcdRegistry.follow} does, but for what it makes of what it hears: nothing.
   *
   * @param changed hears that the count is another
   */
  async count(prefix: string, count: Count, changed: () => void): Promise<void> {
    const { total, revision } = await this.#total(prefix);
    count.put += total;
    changed();
    let after = revision;
    const pace = new Pace(performance.now());
    let watchId: bigint | undefined;
    const failed = (error: Error): void => {
      // what is not heard any more would be a count that is wrong
      if (!this.#isClosed) throw error;
    };
    /** what was written last: asked for after a rest, as who follows does, and all at first */
    let lastKey: Buffer | undefined;
    const create = (): void => {
      stream.write(framed(encode([1, Buffer.concat([this.#below(prefix), encode([3, after + 1])])])));
    };
    const rest = (ms: number): void => {
      stream.write(framed(encode([2, encode([1, watchId])])));
      watchId = undefined;
      setTimeout(create, ms);
    };
    const stream = this.#connection.open(
      WATCH,
      (message) => {
        const heard = readWatch(message);
        if (heard.isCreated) {
          watchId = heard.id;
          const asked = lastKey === undefined ? [this.#below(prefix), NEWEST] : [encode([1, lastKey])];
          void this.#range(Buffer.concat([...asked, encode([4, after])])).catch(failed);
        }
        if (heard.id !== watchId || heard.put + heard.deleted === 0) return;
        count.put += heard.put;
        count.deleted += heard.deleted;
        after = Math.max(after, heard.revision);
        lastKey = heard.key;
        changed();
        const restMs = pace.heard(count.put - count.deleted, performance.now());
        if (restMs > 0) rest(restMs);
      },
      failed,
    );
    create();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#connection[Symbol.dispose]();
  }

  async #range(request: Buffer): Promise<{ entries: Entry[]; revision: Revision }> {
    const entries: Entry[] = [];
    let revision = 0;
    decode(await this.#connection.ask(RANGE, request), (field, value) => {
      if (typeof value !== 'object') return;
      if (field === 1) revision = revisionIn(value);
      else if (field === 2) entries.push(this.#entry(value));
    });
    return { entries, revision };
  }

  /** Has everything sent, and looks at how many it is. */
  async #total(prefix: string): Promise<{ total: number; revision: Revision }> {
    let total = 0;
    let revision = 0;
    decode(await this.#connection.ask(RANGE, this.#below(prefix)), (field, value) => {
      if (field === 1 && typeof value === 'object') revision = revisionIn(value);
      else if (field === 4) total = Number(value);
    });
    return { total, revision };
  }

  async #keepAlive(id: bigint): Promise<void> {
    const { stream, waiting } = (this.#kept ??= this.#openKept());
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    waiting.push({ resolve, reject });
    stream.write(framed(encode([1, id])));
    if ((await promise) <= 0) throw new CulvertError('registry_lease_lost', 'Cannot keep a lease alive: it has ended');
  }

  #openKept(): Kept {
    const waiting: Waiting[] = [];
    const hear = (message: Buffer): void => {
      let ttl_s = 0;
      decode(message, (field, value) => {
        if (field === 3) ttl_s = Number(value);
      });
      waiting.shift()?.resolve(ttl_s);
    };
    const stream = this.#connection.open(KEEP_ALIVE, hear, (error) => {
      this.#kept = undefined;
      for (const { reject } of waiting) reject(error);
    });
    return { stream, waiting };
  }

  #key(key: string): Buffer {
    return Buffer.from(this.#namespace + key);
  }

  /** Of a range or of a watch: all keys that begin so. */
  #below(prefix: string): Buffer {
    const begin = this.#key(prefix);
    const end = Buffer.from(begin);
    end[end.length - 1] = (end.at(-1) ?? 0) + 1;
    return encode([1, begin], [2, end]);
  }

  #entry(message: Buffer): Entry {
    const entry = { key: '', value: '', revision: 0 };
    decode(message, (field, value) => {
      if (field === 1) entry.key = value.toString().slice(this.#namespace.length);
      else if (field === 3) entry.revision = Number(value);
      else if (field === 5) entry.value = value.toString();
    });
    return entry;
  }

  #operation(write: Write): Buffer {
    const key = this.#key(write.key);
    if (write.value === undefined) return encode([3, encode([1, key])]);
    const lease = 'lease' in write ? write.lease : undefined;
    return encode([2, encode([1, key], [2, Buffer.from(write.value)], [3, BigInt(lease?.id ?? 0)])]);
  }
}

/** Of a header, or of a key and its value: the number is the same. */
function revisionIn(message: Buffer): Revision {
  let revision = 0;
  decode(message, (field, value) => {
    if (field === 3) revision = Number(value);
  });
  return revision;
}

const NO_KEY: Buffer = Buffer.alloc(0);

/** Its own copy: what it is read from is only there for as long as it is read. */
function keyIn(message: Buffer): Buffer {
  let key = NO_KEY;
  decode(message, (field, value) => {
    if (field === 1 && typeof value === 'object') key = Buffer.from(value);
  });
  return key;
}

/** Of an event that deletes: its first field is that it does, and one that puts has no such. */
const DELETES = 0x08;

function readWatch(message: Buffer) {
  const heard = { id: 0n, isCreated: false, put: 0, deleted: 0, revision: 0, key: NO_KEY };
  let last: Buffer | undefined;
  decode(message, (field, value) => {
    if (field === 2 && typeof value === 'bigint') heard.id = value;
    else if (field === 3) heard.isCreated = value === 1n;
    else if (field === 11 && typeof value === 'object') {
      last = value;
      if (value[0] === DELETES) heard.deleted++;
      else heard.put++;
    }
  });
  // the header's is the registry's, and more of what came before it may follow
  if (last !== undefined) {
    decode(last, (field, value) => {
      if (field !== 2 || typeof value !== 'object') return;
      heard.revision = revisionIn(value);
      heard.key = keyIn(value);
    });
  }
  return heard;
}
