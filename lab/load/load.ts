import { LineProcess } from '../line-process.ts';
import type { Kind, LoadOrder, Reports, Tasks } from './protocol.ts';

const PROGRAM = new URL('program.ts', import.meta.url).pathname;

/** Somebody in a namespace, in a process of their own, who does one thing without an end. */
export class Load<Of extends Kind> implements Disposable {
  readonly #process: LineProcess;

  private constructor(process: LineProcess) {
    this.#process = process;
  }

  /** Returns when it can begin. @param netns path of the namespace */
  static async start<Of extends Kind>(netns: string, kind: Of, task: Tasks[Of]): Promise<Load<Of>> {
    const load = new Load<Of>(new LineProcess(netns, process.execPath, [PROGRAM, kind, JSON.stringify(task)]));
    await load.#process.line();
    return load;
  }

  go(): Promise<Reports[Of]> {
    return this.#order('go');
  }

  /** Resolves when it sends no more. */
  rest(): Promise<Reports[Of]> {
    return this.#order('rest');
  }

  report(): Promise<Reports[Of]> {
    return this.#order('report');
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }

  async #order(order: LoadOrder): Promise<Reports[Of]> {
    return JSON.parse(await this.#process.ask(order)) as Reports[Of];
  }
}
