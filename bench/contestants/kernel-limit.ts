import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { LineProcess } from '../../lab/line-process.ts';
import { PinFolder, type Stage } from '../stage.ts';
import type { Creator } from './creator.ts';

const SOURCE = new URL('../reference/kernel-limit.c', import.meta.url).pathname;

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

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
    this.#pins[Symbol.dispose]();
  }
}
