import { plainText } from '../plain-text.ts';
import { ALIVE, HOSTS } from './keys.ts';
import { type HostRecord, NAME, readHost } from './records.ts';
import type { Change, Entry, News, Registry } from './registry.ts';

/** A host as the registry shows it. */
export type KnownHost = {
  readonly name: string;
  readonly record: HostRecord;
  /** whether it was heard of lately; one that was not keeps its place */
  readonly isAlive: boolean;
};

/** What became of one host: undefined where it is no more. */
export type HostChange = { readonly name: string; readonly host: KnownHost | undefined };

/** All hosts of a cluster, kept as the registry tells of them: a change of one costs no look at the others. */
export class Hosts {
  readonly #hosts = new Map<string, KnownHost>();
  readonly #alive = new Set<string>();
  /** Why a record could not be read, by name of the host, which may be anything. */
  readonly unreadable = new Map<string, string>();
  #remembered: readonly string[];
  #isComplete = false;

  /** @param remembered names of hosts that are taken for there until the registry has told which are */
  constructor(remembered: readonly string[] = []) {
    this.#remembered = remembered;
  }

  /** Whether the registry has told of all that there are. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Whether one was heard of lately, be its record readable or not. */
  isAlive(name: string): boolean {
    return this.#alive.has(name);
  }

  get all(): ReadonlyMap<string, KnownHost> {
    return this.#hosts;
  }

  /** Takes in what the registry tells, below {@link HOSTS} or {@link ALIVE}, and returns which hosts it changed. */
  take(prefix: typeof HOSTS | typeof ALIVE, news: News): HostChange[] {
    const names =
      news.kind === 'all' ? this.#takeAll(prefix, news.entries) : news.changes.map((one) => this.#takeOne(one));
    const changes = [...new Set(names)].map((name) => ({ name, host: this.#hosts.get(name) }));
    // that one is alive says nothing before it is told who it is
    return prefix === HOSTS ? changes : changes.filter(({ host }) => host !== undefined);
  }

  #takeAll(prefix: typeof HOSTS | typeof ALIVE, entries: readonly Entry[]): string[] {
    const keys = new Set(entries.map(({ key }) => key));
    const records = [...this.#hosts.keys(), ...this.unreadable.keys(), ...this.#remembered];
    const known = prefix === HOSTS ? records : [...this.#alive];
    if (prefix === HOSTS) {
      this.#remembered = [];
      this.#isComplete = true;
    }
    const gone = known.map((name) => `${prefix}${name}`).filter((key) => !keys.has(key));
    return [
      ...gone.map((key) => this.#takeOne({ key, value: undefined })),
      ...entries.map((one) => this.#takeOne(one)),
    ];
  }

  #takeOne({ key, value }: Pick<Change, 'key' | 'value'>): string {
    const [folder, name] = [key.slice(0, key.indexOf('/') + 1), key.slice(key.indexOf('/') + 1)];
    if (folder === ALIVE) {
      if (value === undefined) this.#alive.delete(name);
      else this.#alive.add(name);
      const host = this.#hosts.get(name);
      if (host !== undefined) this.#hosts.set(name, { ...host, isAlive: this.#alive.has(name) });
      return name;
    }
    this.unreadable.delete(name);
    if (value !== undefined && !NAME.test(name)) {
      this.unreadable.set(name, 'its name is none that a host may have');
      return name;
    }
    if (value === undefined) this.#hosts.delete(name);
    else this.#takeRecord(name, key, value);
    return name;
  }

  /** One that cannot be read stands as it did: a host is not lost because another wrote nonsense. */
  #takeRecord(name: string, key: string, value: string): void {
    try {
      this.#hosts.set(name, { name, record: readHost(key, value), isAlive: this.#alive.has(name) });
    } catch (error) {
      this.unreadable.set(name, plainText(error instanceof Error ? error.message : String(error)));
    }
  }
}

/**
 * Follows all hosts until it is told to end.
 *
 * @param changed hears which hosts have changed, the first time all of them
 * @param isOurs is asked before all of them are taken in, and throws where they are another cluster's
 * @throws CulvertError `registry_denied`
 */
export async function followHosts(
  registry: Registry,
  hosts: Hosts,
  changed: (changes: readonly HostChange[]) => void,
  { isOurs, signal }: { readonly isOurs: () => Promise<void>; readonly signal: AbortSignal },
): Promise<void> {
  const failed = new AbortController();
  const ended = AbortSignal.any([signal, failed.signal]);
  const follow = async (prefix: typeof HOSTS | typeof ALIVE): Promise<void> => {
    for await (const news of registry.follow(prefix, ended)) {
      if (news.kind === 'all') await isOurs();
      const changes = hosts.take(prefix, news);
      if (changes.length > 0) changed(changes);
    }
  };
  try {
    await Promise.all([follow(HOSTS), follow(ALIVE)]);
  } finally {
    failed.abort();
  }
}
