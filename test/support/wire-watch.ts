import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';

/** ms that tcpdump(8) may take to show what has passed: it is told to hold nothing back */
const SHOWN_MS = 300;

/** What passes on a link, as tcpdump(8) shows it, a line for each packet. */
export class WireWatch implements AsyncDisposable {
  readonly #child: ChildProcess;
  #lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      this.#lines.push(...lines);
    });
  }

  /**
   * Watches from when this resolves on.
   *
   * @param pin of the link's network namespace
   * @param filter as in pcap-filter(7)
   */
  static async start(pin: string, link: string, filter: string): Promise<WireWatch> {
    const options = ['-n', '-l', '--immediate-mode', '-i', link, filter];
    const child = spawn('nsenter', [`--net=${pin}`, 'setpriv', '--pdeathsig', 'KILL', 'tcpdump', ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const watch = new WireWatch(child);
    let said = '';
    for await (const chunk of child.stderr) {
      said += String(chunk);
      if (said.includes('listening on')) return watch;
    }
    throw new Error(`tcpdump has ended: ${said}`);
  }

  /** What has passed since this was asked last. */
  async seen(): Promise<string[]> {
    await pause(SHOWN_MS);
    const seen = this.#lines;
    this.#lines = [];
    return seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
