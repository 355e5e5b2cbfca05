import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { LineProcess } from '../../lab/line-process.ts';
import { ProcessorTime, type Profile, threadTimes } from '../processor-time.ts';
import { PinFolder, type Stage } from '../stage.ts';
import { pause } from '../until.ts';
import type { Creator } from './creator.ts';

const SOURCE = new URL('../reference/kernel-limit.c', import.meta.url).pathname;

/** Of each third, when sandboxes come and go. */
const SHARE_AT_ONCE = 8;
const SLOTS = 32_767;
/** As many as the daemon lets go together. */
const MOST_LEFT = 256;
const LOOK_MS = 5;

/** The same kernel objects from C with batched netlink, and nothing else. */
export class KernelLimit implements Creator, Disposable {
  readonly name = 'kernel limit';
  readonly #pins: PinFolder;
  readonly #process: LineProcess;
  #live = 0;

  constructor(stage: Stage, { mtu }: { readonly mtu: number }) {
    const program = join(stage.folder, 'kernel-limit');
    execFileSync('gcc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, SOURCE]);
    this.#pins = new PinFolder(stage.folder, 'kernel-limit-pins');
    this.#process = new LineProcess(undefined, program, ['--directory', this.#pins.path, '--mtu', String(mtu)]);
  }

  get live(): number {
    return this.#live;
  }

  /** The path of a namespace: `router`, `s<slot>`. */
  pin(name: string): string {
    return join(this.#pins.path, name);
  }

  async create(count: number): Promise<void> {
    await this.#process.ask(`create ${count}`);
    this.#live += count;
  }

  /**
   * Makes and removes for so long, or until it has used all slots, a third of them with a TAP, with this many live all
   * along and no more on their way out than the kernel clears away. Says how many, and where the time of one went.
   */
  async turnOver(live: number, durationMs: number): Promise<{ readonly rate: number; readonly profile: Profile }> {
    const make = async (share: number): Promise<void> => {
      await this.#process.ask(`create ${share}`);
      await this.#process.ask(`plain ${2 * share}`);
    };
    await make(Math.round(live / 3));
    let removed = 0;
    const before = threadTimes(this.#process.pid);
    const begin = performance.now();
    while (performance.now() - begin < durationMs && live + removed < SLOTS - 3 * SHARE_AT_ONCE) {
      await make(SHARE_AT_ONCE);
      removed += 3 * SHARE_AT_ONCE;
      let left = Number(await this.#process.ask(`remove ${3 * SHARE_AT_ONCE}`));
      while (left > MOST_LEFT) {
        await pause(LOOK_MS);
        left = Number(await this.#process.ask('left'));
      }
    }
    const elapsedMs = performance.now() - begin;
    const spent = new ProcessorTime();
    spent.add(before, threadTimes(this.#process.pid));
    const of = `churn, ${this.name}: a create and a remove`;
    const profile = { of, unit: 'µs', elapsed: (elapsedMs * 1000) / removed, threads: spent.times(1000 / removed) };
    return { rate: (removed * 1000) / elapsedMs, profile };
  }

  /**
   * Removes the oldest `count` that it has made, one after the other without a pause, and waits until the kernel has
   * cleared them away. Returns how many a second.
   */
  async remove(count: number): Promise<number> {
    const begin = performance.now();
    for (let left = Number(await this.#process.ask(`remove ${count}`)); left > 0; ) {
      await pause(LOOK_MS);
      left = Number(await this.#process.ask('left'));
    }
    return (count * 1000) / (performance.now() - begin);
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
    this.#pins[Symbol.dispose]();
  }
}
