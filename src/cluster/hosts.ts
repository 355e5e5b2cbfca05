import { plainText } from '../plain-text.ts';
import { HOSTS, hostKey } from './keys.ts';
import { type HostRecord, NAME, readHost } from './records.ts';
import type { Change, Entry, News, Registry } from './registry.ts';

/** A host as the registry shows it. */
export type KnownHost = {
  readonly name: string;
  readonly record: HostRecord;
};

/** What became of one host: undefined where it is no more. */
export type HostChange = { readonly name: string; readonly host: KnownHost | undefined };

/** All hosts of a cluster, kept as the registry tells of them: a change of one costs no look at the others. */
export class Hosts {
  readonly #hosts = new Map<string, KnownHost>();
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

  get all(): ReadonlyMap<string, KnownHost> {
    return this.#hosts;
  }

  /** Takes in what the registry tells below {@link HOSTS}, and returns which hosts it changed. */
  take(news: News): HostChange[] {
    const names = news.kind === 'all' ? this.#takeAll(news.entries) : news.changes.map((one) => this.#takeOne(one));
    return [...new Set(names)].map((name) => ({ name, host: this.#hosts.get(name) }));
  }

  #takeAll(entries: readonly Entry[]): string[] {
    const keys = new Set(entries.map(({ key }) => key));
    const known = [...this.#hosts.keys(), ...this.unreadable.keys(), ...this.#remembered];
    this.#remembered = [];
    this.#isComplete = true;
    const gone = known.map(hostKey).filter((key) => !keys.has(key));
    return [
      ...gone.map((key) => this.#takeOne({ key, value: undefined })),
      ...entries.map((one) => this.#takeOne(one)),
    ];
  }

  #takeOne({ key, value }: Pick<Change, 'key' | 'value'>): string {
    const name = key.slice(HOSTS.length);
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
      this.#hosts.set(name, { name, record: readHost(key, value) });
    } catch (error) {
      this.unreadable.set(name, plainText(error instanceof Error ? error.message : String(error)));
    }
  }
}

/**
 * Follows all hosts until it is told to end. That one is alive or not changes nothing for the others, and is not
 * followed: it would be half of all that a registry has to tell, and more of it the less time that has.
 *
 * @param changed hears which hosts have changed, the first time all of them
 * @throws CulvertError `registry_denied`, `registry_foreign`
 */
export async function followHosts(
  registry: Registry,
  hosts: Hosts,
  changed: (changes: readonly HostChange[]) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const news of registry.follow(HOSTS, signal)) {
    changed(hosts.take(news));
  }
}
