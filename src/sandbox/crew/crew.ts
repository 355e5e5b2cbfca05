import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import type { Network } from '../topology/desired.ts';
import type { Layout } from '../topology/layout.ts';
import { Hands } from './hands.ts';
import { Helper, IDLE, URGENT } from './helper.ts';
import { Job, type Outcome, type Task } from './job.ts';

/** How long the helper may take for one network: the kernel does it in a hundredth of that on a bad day. */
const PATIENCE_MS = 30_000;

type Start = (...given: ConstructorParameters<typeof Helper>) => Pick<Helper, keyof Helper>;

const startHelper: Start = (pins, layout, lost) => new Helper(pins, layout, lost);

/** A task for some networks, and what becomes of it. */
export class Batch {
  readonly id: number;
  readonly task: Task;
  readonly networks: readonly Network[];
  readonly job: Job;
  readonly failures = new Map<number, unknown>();

  constructor(id: number, task: Task, networks: readonly Network[]) {
    this.id = id;
    this.task = task;
    this.networks = networks;
    this.job = new Job(networks.length);
  }

  get isOver(): boolean {
    return this.job.isOver;
  }

  outcome(index: number): Outcome {
    return this.job.outcome(index);
  }

  /** Why the first that failed did; undefined where none has. */
  get failure(): unknown {
    return this.failures.values().next().value;
  }
}

/**
 * Those who work on the kernel's objects of many networks at a time: the thread that it is made on, and a helper if one
 * is hired. The kernel lets only one thread at a time change links and addresses, so what two gain is the rest: what is
 * done in JavaScript, for namespaces and by waiting for grace periods.
 */
export class Crew implements Disposable {
  readonly #kernel: Kernel;
  readonly #layout: Layout;
  readonly #hands: Hands;
  readonly #batches = new Map<number, Batch>();
  #helper: ReturnType<Start> | undefined;
  #last = 0;
  #loss: string | undefined;

  constructor(kernel: Kernel, layout: Layout) {
    this.#kernel = kernel;
    this.#layout = layout;
    this.#hands = new Hands(kernel, layout);
  }

  /** Takes on the helper; until it has loaded its program the calling thread does everything alone. */
  hire(start: Start = startHelper): void {
    this.#helper ??= start(this.#kernel.pins, this.#layout, (reason) => this.#lose(reason));
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
    if (networks.length > 1) this.#give(batch, URGENT);
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
    this.#give(batch, IDLE);
    return batch;
  }

  /** Does a few of a batch that was begun where nobody helps, and says whether it is over. */
  advance(batch: Batch, few: number): boolean {
    return this.join(batch, this.isAlone ? few : 0);
  }

  /** Does a few of a batch that was begun, beside the helper, and says whether it is over. */
  join(batch: Batch, few: number): boolean {
    for (let left = few; left > 0 && this.#work(batch); left--);
    if (batch.isOver) this.#hands.rest();
    return this.#look(batch);
  }

  /** Does what is left of a batch that was begun, and returns when it is over. */
  finish(batch: Batch): void {
    while (this.#work(batch));
    // what is not over is in the hands of the helper
    while (!batch.isOver) if (!batch.job.wait(PATIENCE_MS)) this.#lose(`it took ${PATIENCE_MS / 1000} s for a network`);
    this.#hands.rest();
    this.#look(batch);
  }

  [Symbol.dispose](): void {
    for (const batch of this.#batches.values()) batch.job.cancel();
    for (const batch of this.#batches.values()) this.finish(batch);
    this.#helper?.[Symbol.dispose]();
    this.#helper = undefined;
    this.#hands[Symbol.dispose]();
  }

  #work({ job, task, networks, failures }: Batch): boolean {
    return this.#hands.workOn(job, task, networks, (index, error) => failures.set(index, error));
  }

  #give(batch: Batch, urgency: typeof IDLE | typeof URGENT): void {
    this.#batches.set(batch.id, batch);
    this.#helper?.give(batch.id, batch.job, batch.task, batch.networks, urgency);
  }

  /** Hears what the helper has to say, and whether the batch is over. */
  #look(batch: Batch): boolean {
    const { isOver } = batch;
    for (const { id, index, error } of this.#helper?.failures() ?? [])
      this.#batches.get(id)?.failures.set(index, error);
    if (isOver) this.#batches.delete(batch.id);
    return isOver;
  }

  /** What the helper had taken will never be done. */
  #lose(reason: string): void {
    if (this.#helper === undefined) return;
    this.#helper[Symbol.dispose]();
    this.#helper = undefined;
    this.#loss = reason;
    const error = new CulvertError('helper_lost', `Cannot finish what the kernel thread’s helper had begun: ${reason}`);
    for (const { job, failures } of this.#batches.values()) {
      for (const index of job.settleTaken('failed')) failures.set(index, error);
    }
  }
}
