import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';

/** ms that tcpdump(8) may take to show what has passed: it is told to hold nothing back */
const SHOWN_MS = 300;

/** What passes on a link, as tcpdump(8) shows it, a line for each packet. */
export class WireWatch implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  #lines: string[] = [];
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#gone = new Promise((resolve) => void child.once('close', () => resolve()));
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
    await watch.#listening();
    return watch;
  }

  /** What has passed since this was asked last. @throws Error where nobody watches any more */
  async seen(): Promise<string[]> {
    await pause(SHOWN_MS);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw this.#ended();
    const seen = this.#lines;
    this.#lines = [];
    return seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#said += chunk;
        if (this.#said.includes('listening on')) resolve();
      });
      void this.#gone.then(() => reject(this.#ended()));
    });
  }

  #ended(): Error {
    return new Error(`tcpdump has ended: ${this.#said}`);
  }
}
