import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { LabHost } from '../../lab/host.ts';

/** s between two requests */
const INTERVAL_S = 0.02;

/** Pings from a namespace without a pause, and counts what did not come back. */
export class Pinging implements Disposable {
  readonly #child: ChildProcess;
  #printed = '';

  constructor(host: LabHost, namespace: string, address: string) {
    this.#child = host.spawn(namespace, 'ping', '-n', '-i', String(INTERVAL_S), address);
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#printed += chunk;
    });
  }

  /** Waits for so many more replies. */
  async replies(count: number): Promise<void> {
    const wanted = this.#sequences().length + count;
    while (this.#sequences().length < wanted) {
      if (this.#child.exitCode !== null) throw new Error(`ping ended: ${this.#printed}`);
      await pause(10);
    }
  }

  /** Ends it, and says how many of the requests before the last reply got none. */
  async stop(): Promise<{ readonly lost: number }> {
    const closed = new Promise((resolve) => {
      this.#child.once('close', resolve);
    });
    this.#child.kill('SIGINT');
    await closed;
    const sequences = this.#sequences();
    return { lost: (sequences.at(-1) ?? 0) - new Set(sequences).size };
  }

  #sequences(): number[] {
    return [...this.#printed.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence));
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
