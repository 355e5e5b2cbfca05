import { execFileSync } from 'node:child_process';
import { LabHost } from '../../lab/host.ts';
import { LineProcess } from '../../lab/line-process.ts';
import type { Creator } from './creator.ts';

const SCRIPT = new URL('exec-agent.sh', import.meta.url).pathname;

/** An agent that executes ip(8) and iptables(8) for each sandbox, on a host of its own. One at a time: ip(8) has one folder for pins. */
export class ExecAgent implements Creator, Disposable {
  readonly name = 'exec agent';
  readonly share = 0.25;
  readonly host = new LabHost();
  readonly #process: LineProcess;
  #live = 0;

  constructor() {
    this.#process = new LineProcess(this.host.pin('host'), 'sh', [SCRIPT]);
  }

  get live(): number {
    return this.#live;
  }

  /** The path of the namespace of the n-th sandbox, from 1. */
  pin(number: number): string {
    return `/run/netns/a${number}`;
  }

  async create(count: number): Promise<void> {
    await this.#process.ask(`create ${count}`);
    this.#live += count;
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
    execFileSync('ip', ['-all', 'netns', 'delete']);
    this.host[Symbol.dispose]();
  }
}
