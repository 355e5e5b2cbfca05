import { type Etcd3, type EtcdError, type IWatchResponse, Range, type Watcher } from 'etcd3';
import type { CulvertError } from '../../errors.ts';
import type { Change } from '../registry.ts';
import { etcdFailure, isTokenInvalid } from './failure.ts';
import { Pace } from './pace.ts';
import type { Print, Told } from './told.ts';

/** Changes that wait for who follows; beyond that everything is read again. */
const QUEUED_MAX = 20_000;

export type WatchParts = {
  /** of the registry, for messages */
  readonly name: string;
  /** before each key */
  readonly namespace: string;
  /** below which it is looked */
  readonly prefix: string;
  /** what was told already, which it goes on with */
  readonly told: Told;
  /** Hears each time that it goes on over a connection, with what the registry has to have had. */
  readonly connected: (watch: Watch, print: Print) => void;
  /** Hears the same where it goes on after a rest: over the connection of before, for all that it knows. */
  readonly rested: (watch: Watch, print: Print) => void;
  /** Hears that the token is no longer known. */
  readonly tokenInvalid: () => void;
  /** Hears that nobody follows any more. */
  readonly gone: (watch: Watch) => void;
};

/** What changes below a prefix after a revision, over one connection after the other. */
export class Watch implements Disposable {
  readonly #parts: WatchParts;
  #watcher: Watcher | undefined;
  #client: Etcd3 | undefined;
  #resting: NodeJS.Timeout | undefined;
  readonly #pace = new Pace(performance.now());
  #queue: Change[] = [];
  #isMissed = false;
  #failure: CulvertError | undefined;
  #heard = Promise.withResolvers<void>();

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Goes on over this connection, from where it was. */
  attach(client: Etcd3): void {
    this.#goOn(client, { isRested: false });
  }

  #goOn(client: Etcd3, { isRested }: { readonly isRested: boolean }): void {
    const { namespace, prefix, told } = this.#parts;
    this.#detach();
    this.#client = client;
    const builder = client.watch().inRange(Range.prefix(namespace + prefix));
    const watcher = builder.startRevision(String(told.revision + 1)).watcher();
    this.#watcher = watcher;
    // before it says anything: what follows may be of another history
    let isSame = isRested;
    watcher.on('connected', () => {
      if (isSame) this.#parts.rested(this, told.print());
      else this.#parts.connected(this, told.print());
    });
    watcher.on('data', (response) => this.#hear(response));
    watcher.on('disconnected', (error) => {
      isSame = false;
      if (isTokenInvalid(error)) this.#parts.tokenInvalid();
    });
    watcher.on('error', (error) => this.#fail(error));
  }

  /** below which it looks */
  get prefix(): string {
    return this.#parts.prefix;
  }

  /**
   * What has changed since this was last asked, one thing at the least, in order; undefined where some of it was missed.
   *
   * @throws CulvertError `registry_denied`
   */
  async next(signal: AbortSignal): Promise<Change[] | undefined> {
    const wake = (): void => this.#heard.resolve();
    signal.addEventListener('abort', wake, { once: true });
    if (this.#queue.length === 0 && !this.#isMissed && this.#failure === undefined && !signal.aborted) {
      await this.#heard.promise;
    }
    signal.removeEventListener('abort', wake);
    this.#heard = Promise.withResolvers<void>();
    if (this.#failure !== undefined) throw this.#failure;
    return this.#isMissed ? undefined : this.#queue.splice(0);
  }

  [Symbol.dispose](): void {
    this.#detach();
    this.#parts.gone(this);
  }

  #detach(): void {
    clearTimeout(this.#resting);
    const watcher = this.#watcher;
    this.#watcher = undefined;
    if (watcher === undefined) return;
    for (const event of ['connected', 'data', 'disconnected']) watcher.removeAllListeners(event);
    // what it says from now on is of no interest, and would end the process where nobody hears it
    watcher.on('error', () => undefined);
    watcher.cancel().catch(() => undefined);
  }

  #hear({ events }: IWatchResponse): void {
    const { namespace, told } = this.#parts;
    for (const { type, kv } of events) {
      const revision = Number(kv.mod_revision);
      const key = kv.key.toString().slice(namespace.length);
      const value = type === 'Put' ? kv.value.toString() : undefined;
      told.take(key, value, revision);
      this.#queue.push({ key, value, revision });
    }
    if (this.#queue.length > QUEUED_MAX) this.miss();
    else this.#heard.resolve();
    const restMs = events.length === 0 ? 0 : this.#pace.heard(told.count, performance.now());
    if (restMs > 0) this.#rest(restMs);
  }

  /** Lets go of the watch, and goes on after a while from where it was. */
  #rest(ms: number): void {
    const client = this.#client;
    this.#detach();
    if (client !== undefined) this.#resting = setTimeout(() => this.#goOn(client, { isRested: true }), ms);
  }

  /** Everything is to be read again. */
  miss(): void {
    this.#queue = [];
    this.#isMissed = true;
    this.#heard.resolve();
  }

  /** etcd has ended the watch: mostly because what it should go on from is compacted away. */
  #fail(error: EtcdError): void {
    const failure = etcdFailure(`watch ${this.#parts.prefix}`, this.#parts.name, error);
    if (failure.code !== 'registry_denied') return this.miss();
    this.#failure = failure;
    this.#heard.resolve();
  }
}
