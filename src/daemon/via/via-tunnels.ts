import { Worker } from 'node:worker_threads';
import { CulvertError } from '../../errors.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { Problem } from '../../sandbox/event.ts';
import { errorOf, type WireError } from '../../wire-error.ts';
import type { Wish } from './wish.ts';

/** What the thread is made with. */
export type ViaData = {
  /** folder of the files of tunnels */
  readonly files: string;
  /** folder of the pins of namespaces */
  readonly pins: string;
  readonly runFolder: string;
  readonly stateFolder: string;
};

/** All tunnels that are to be there, or that it is to end and leave them as they are. */
export type Order = readonly Wish[] | 'close';

export type ViaNews =
  /** With which key it begins, a public one. */
  | { readonly news: 'begins'; readonly serial: number; readonly key: Key }
  /** It is there, and what was done for it. */
  | { readonly news: 'connected'; readonly serial: number; readonly notices: readonly string[] }
  /** Why nothing passes by it, though it stands. */
  | { readonly news: 'silent'; readonly serial: number; readonly error: WireError }
  /** Why it is not. */
  | { readonly news: 'failed'; readonly serial: number; readonly error: WireError }
  /** What somebody else had changed of the rules in the router. */
  | { readonly news: 'repaired'; readonly changes: readonly string[] }
  | { readonly news: 'problem'; readonly error: WireError };

type Known = {
  readonly wish: Wish;
  /** undefined before anything is known; one that stands says no more until its peer does */
  state: 'connected' | { readonly why: Error; readonly stands: boolean } | undefined;
  readonly waiting: PromiseWithResolvers<void>[];
};

export type ViaTunnelsParts = ViaData & {
  /** Hears of a tunnel that is there, and of one that is not any more or could not be made. */
  readonly changed: (wish: Wish, now: Error | { readonly notices: readonly string[] }) => void;
  readonly runs: (tunnel: string, key: Key) => void;
  readonly repaired: (changes: readonly string[]) => void;
  /** Hears that none is kept any more. */
  readonly lost: () => void;
  readonly report: (error: unknown) => void;
};

/** The tunnels of sandboxes and groups, as the main thread sees them; the thread that keeps them runs from the first on. */
export class ViaTunnels {
  readonly #parts: ViaTunnelsParts;
  #known = new Map<number, Known>();
  #worker: Worker | undefined;
  /** why there is no thread any more: what it held it holds until this process ends */
  #lost: CulvertError | undefined;
  #lastSerial = 0;

  constructor(parts: ViaTunnelsParts) {
    this.#parts = parts;
  }

  /** These are to be there, and no others. */
  want(wishes: readonly Omit<Wish, 'serial'>[]): void {
    const former = this.#known;
    this.#known = new Map(
      wishes.map((wish) => {
        const known = former.get(wish.number);
        const isSame = known?.wish.tunnel === wish.tunnel && known.wish.namespace === wish.namespace;
        return [wish.number, isSame ? known : this.#begin(wish)];
      }),
    );
    for (const known of former.values()) {
      if (this.#known.get(known.wish.number) !== known) settle(known, new CulvertError('via_down', 'it was removed'));
    }
    this.#send([...this.#known.values()].map(({ wish }) => wish));
  }

  /** Resolves when the tunnel of the number is there. @throws CulvertError why it is not */
  async connected(number: number): Promise<void> {
    const known = this.#known.get(number);
    if (known === undefined) throw new CulvertError('via_down', 'it was removed');
    if (known.state === 'connected') return;
    if (known.state?.stands === true) throw known.state.why;
    if (this.#lost !== undefined) throw this.#lost;
    const waiting = Promise.withResolvers<void>();
    known.waiting.push(waiting);
    await waiting.promise;
  }

  problems(): Problem[] {
    if (this.#lost !== undefined) return [{ code: 'via_unkept', message: this.#lost.message }];
    const failed = [...this.#known.values()].flatMap(({ wish, state }) =>
      typeof state === 'object'
        ? [`${wish.whose} has no tunnel ${wish.tunnel}, and so no way out: ${state.why.message}`]
        : [],
    );
    const [first, ...others] = failed;
    if (first === undefined) return [];
    const more = others.length === 0 ? '' : `; and ${others.length} others have none`;
    return [{ code: 'via_down', message: `${first}${more}` }];
  }

  /** Ends the thread; the tunnels stay as they are. Nobody waits for one any more. */
  async close(): Promise<void> {
    for (const known of this.#known.values()) settle(known, new CulvertError('via_down', 'the daemon stops'));
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    if (this.#lost !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.once('exit', () => resolve());
    worker.postMessage('close');
    await promise;
  }

  #begin(wish: Omit<Wish, 'serial'>): Known {
    return { wish: { ...wish, serial: ++this.#lastSerial }, state: undefined, waiting: [] };
  }

  #send(order: Order): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(order);
  }

  #start(): Worker {
    const { files, pins, runFolder, stateFolder, report } = this.#parts;
    const workerData: ViaData = { files, pins, runFolder, stateFolder };
    const worker = new Worker(new URL('via-thread.ts', import.meta.url), { name: 'culvert-via', workerData });
    worker.on('message', (news: ViaNews) => this.#hear(news));
    worker.on('error', (error) => {
      const why = error instanceof Error ? error.message : String(error);
      const message = `Cannot keep the tunnels of sandboxes any more: ${why}; restart the daemon, the sandboxes run on and what stands of their tunnels too`;
      const lost = new CulvertError('via_unkept', message, { cause: error });
      this.#lost = lost;
      report(lost);
      for (const known of this.#known.values()) settle(known, lost);
      this.#parts.lost();
    });
    return worker;
  }

  #hear(news: ViaNews): void {
    if (news.news === 'problem') {
      this.#parts.report(errorOf(news.error));
      return;
    }
    if (news.news === 'repaired') {
      this.#parts.repaired(news.changes);
      return;
    }
    const known = [...this.#known.values()].find(({ wish }) => wish.serial === news.serial);
    if (known === undefined) return;
    const { wish } = known;
    if (news.news === 'begins') {
      this.#parts.runs(wish.tunnel, news.key);
      return;
    }
    const why = news.news === 'connected' ? undefined : errorOf(news.error);
    known.state = why === undefined ? 'connected' : { why, stands: news.news === 'silent' };
    settle(known, why);
    this.#parts.changed(wish, why ?? { notices: news.news === 'connected' ? news.notices : [] });
  }
}

function settle({ waiting }: Known, error: Error | undefined): void {
  for (const { resolve, reject } of waiting.splice(0)) {
    if (error === undefined) resolve();
    else reject(error);
  }
}
