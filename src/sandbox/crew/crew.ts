import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import type { Layout } from '../topology/layout.ts';
import type { Network } from '../topology/network.ts';
import { Batch } from './batch.ts';
import { Hands } from './hands.ts';
import { Helper } from './helper.ts';
import { type Task, URGENCY, type Urgency } from './job.ts';

/**
 * How many seconds the helper may take for one network that somebody waits for, and for one that nobody does. They are
 * counted one by one: a process that was stopped meanwhile has counted none.
 */
const PATIENCE_S = { waiting: 10, idle: 60 } as const;
const SECOND_MS = 1000;

type Start = (...given: ConstructorParameters<typeof Helper>) => Pick<Helper, keyof Helper>;

const startHelper: Start = (pins, layout, lost) => new Helper(pins, layout, lost);

export type CrewParts = {
  readonly kernel: Kernel;
  readonly layout: Layout;
  /**
   * Is called when the helper does not come back from a network. What it had in hand may still happen at any time, so
   * nobody may go on: the process has to end, and the next one finds what is there. Must not return.
   */
  readonly stuck?: ((reason: string) => never) | undefined;
};

/**
 * Those who work on the kernel's objects of many networks at a time: the thread that it is made on, and a helper if one
 * is hired. The kernel lets only one thread at a time change links and addresses, so what two gain is the rest: what is
 * done in JavaScript, for namespaces and by waiting for grace periods.
 */
export class Crew implements Disposable {
  readonly #parts: CrewParts;
  readonly #hands: Hands;
  readonly #batches = new Map<number, Batch>();
  #helper: ReturnType<Start> | undefined;
  #last = 0;
  #loss: string | undefined;
  /** Holds the two on processors of their own while there is something that both work on, or may. */
  #apart: Disposable | undefined;
  /** How many networks the helper had done when it was last looked at, when that was, and for how long it has been so. */
  #seen = { done: 0, atMs: 0, forMs: 0 };

  constructor(parts: CrewParts) {
    this.#parts = parts;
    this.#hands = new Hands(parts.kernel, parts.layout);
  }

  /** Takes on the helper. What nobody waits for is its work from now on, as soon as it has loaded its program. */
  hire(start: Start = startHelper): void {
    if (this.#helper !== undefined) return;
    try {
      this.#helper = start(this.#parts.kernel.pins, this.#parts.layout, (reason) => this.#lose(reason));
    } catch (error) {
      this.#loss = error instanceof Error ? error.message : String(error);
      return;
    }
    this.#seen = { done: 0, atMs: performance.now(), forMs: 0 };
    for (const batch of this.#batches.values()) this.#helper.give(batch, URGENCY[batch.task]);
  }

  /** What is done from now on is done with links of the layout's size, which is another than before. */
  resize(): void {
    this.#helper?.resize(this.#parts.layout.mtu);
  }

  get isAlone(): boolean {
    return this.#helper === undefined;
  }

  /** Why there is no helper any more. */
  get loss(): string | undefined {
    return this.#loss;
  }

  /** Does the task for all of them, and returns when that is over. */
  carryOut(task: Task, networks: readonly Network[]): Batch {
    const batch = new Batch(++this.#last, task, networks);
    if (networks.length > 1) this.#give(batch, URGENCY.waitedFor);
    this.finish(batch);
    return batch;
  }

  /** @throws CulvertError `apply_failed` of the first that failed: some of the others may be built then */
  build(networks: readonly Network[]): void {
    const { failure } = this.carryOut('build', networks);
    if (failure !== undefined) throw failure;
  }

  /** Gives out what nobody waits for; {@link advance} and {@link finish} are the caller's to call. */
  begin(task: Task, networks: readonly Network[]): Batch {
    const batch = new Batch(++this.#last, task, networks);
    this.#give(batch, URGENCY[task]);
    return batch;
  }

  /** Does a few of a batch that was begun where nobody helps, and says whether it is over. */
  advance(batch: Batch, few: number): boolean {
    if (this.isAlone) this.join(batch, few);
    return this.#look(batch);
  }

  /** Does a few of a batch that was begun, beside the helper. Says whether there was anything left to take. */
  join(batch: Batch, few: number): boolean {
    let left = few;
    while (left > 0 && this.#work(batch)) left--;
    if (batch.isOver) this.#rest(batch);
    return left < few;
  }

  /** Does what is left of a batch that was begun, and returns when it is over. */
  finish(batch: Batch): void {
    while (this.#work(batch));
    // what is not over is in the hands of the helper
    for (let seconds = 0; !batch.isOver; ) {
      if (batch.job.wait(SECOND_MS)) seconds = 0;
      else if (++seconds === PATIENCE_S.waiting) this.#giveUp(PATIENCE_S.waiting);
    }
    this.#rest(batch);
    this.#look(batch);
  }

  [Symbol.dispose](): void {
    for (const batch of this.#batches.values()) batch.job.cancel();
    for (const batch of this.#batches.values()) this.finish(batch);
    this.#letGo();
    this.#helper?.[Symbol.dispose]();
    this.#helper = undefined;
    this.#hands[Symbol.dispose]();
  }

  #work({ job, task, networks, failures }: Batch): boolean {
    return this.#hands.workOn(job, task, networks, (index, error) => failures.set(index, error));
  }

  #rest({ task }: Batch): void {
    if (task === 'clear') this.#hands.rest();
  }

  #give(batch: Batch, urgency: Urgency): void {
    this.#batches.set(batch.id, batch);
    this.#keepApart();
    this.#helper?.give(batch, urgency);
  }

  /** Hears what the helper has to say, and whether the batch is over. */
  #look(batch: Batch): boolean {
    const { isOver } = batch;
    this.#hear();
    if (isOver) this.#batches.delete(batch.id);
    else this.#watch();
    if (this.#batches.size > 0) this.#keepApart();
    else this.#letGo();
    return isOver;
  }

  /** Not before the helper has begun: it is asked for again and again. */
  #keepApart(): void {
    this.#apart ??= this.#helper?.keepApart();
  }

  #letGo(): void {
    this.#apart?.[Symbol.dispose]();
    this.#apart = undefined;
  }

  #hear(): void {
    for (const { id, index, error } of this.#helper?.failures() ?? [])
      this.#batches.get(id)?.failures.set(index, error);
  }

  /** There is something for it to do: then it does something, if not at once. */
  #watch(): void {
    const done = this.#helper?.done;
    if (done === undefined) return;
    const atMs = performance.now();
    const forMs = this.#seen.forMs + Math.min(atMs - this.#seen.atMs, SECOND_MS);
    this.#seen = { done, atMs, forMs: done === this.#seen.done ? forMs : 0 };
    if (this.#seen.forMs > PATIENCE_S.idle * SECOND_MS) this.#giveUp(PATIENCE_S.idle);
  }

  #giveUp(seconds: number): never {
    const reason = `Cannot go on: the kernel thread’s helper has been at one network for ${seconds} s`;
    this.#parts.stuck?.(reason);
    throw new CulvertError('helper_stuck', reason);
  }

  /** It is gone, and with it whatever it had in hand. */
  #lose(reason: string): void {
    if (this.#helper === undefined) return;
    this.#hear();
    this.#letGo();
    this.#helper[Symbol.dispose]();
    this.#helper = undefined;
    this.#loss = reason;
    const error = new CulvertError('helper_lost', `Cannot finish what the kernel thread’s helper had begun: ${reason}`);
    for (const { job, failures } of this.#batches.values()) {
      for (const index of job.settleTaken('failed')) failures.set(index, error);
    }
  }
}
