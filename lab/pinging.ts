import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';

/** s between two requests */
const INTERVAL_S = 0.02;
/** bytes of the IP and ICMP headers */
const HEADERS = 28;

/** Pings from a namespace without a pause, and counts what did not come back. */
export class Pinging implements Disposable {
  readonly #child: ChildProcess;
  #printed = '';

  /**
   * @param netns path of the namespace
   * @param size bytes of each IP packet, which may not be fragmented; small ones where absent
   */
  constructor(netns: string, address: string, size?: number) {
    const options = size === undefined ? [] : ['-M', 'do', '-s', String(size - HEADERS)];
    const ping = ['ping', '-n', '-i', String(INTERVAL_S), ...options, address];
    const command = [`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', ...ping];
    this.#child = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'ignore'] });
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

  /** Ends it, and says how many replies came, and how many of the requests before the last one got none. */
  async stop(): Promise<{ readonly replies: number; readonly lost: number }> {
    const closed = new Promise((resolve) => {
      this.#child.once('close', resolve);
    });
    this.#child.kill('SIGINT');
    await closed;
    const sequences = this.#sequences();
    const replies = new Set(sequences).size;
    return { replies, lost: Math.max(0, ...sequences) - replies };
  }

  #sequences(): number[] {
    return [...this.#printed.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence));
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
