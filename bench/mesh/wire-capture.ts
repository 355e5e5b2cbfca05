import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Underlay } from '../../lab/underlay.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import { pause } from '../until.ts';

/** bytes of each packet that are looked at */
const SNAPPED = '64';
/** KiB, of packets that wait for tcpdump(8) to have a processor */
const BUFFER = '32768';
/** Where sandboxes have their addresses. */
const RANGE = '10.64.0.0/10';
/** ms until it has printed what it heard */
const PRINTED_MS = 300;

/** What hosts send to each other and whoever is on the wire can read, as tcpdump(8) hears it. */
export class WireCapture implements Disposable {
  readonly #child: ChildProcess;
  /** ms of the wall clock, of each packet */
  readonly #heard: number[] = [];
  readonly #listening: Promise<void>;
  readonly #ended: Promise<void>;
  #said = '';

  constructor({ wire }: Underlay) {
    const filter = `udp port ${DEFAULT_CLEAR_PORT} or net ${RANGE}`;
    // what comes from a host is heard at its port, and once
    const options = ['-i', 'any', '-Q', 'in', '-n', '-tt', '-q', '-l', '-s', SNAPPED, '-B', BUFFER, filter];
    const command = [`--net=${wire}`, 'setpriv', '--pdeathsig', 'KILL', 'tcpdump', ...options];
    this.#child = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error('There are pipes');
    createInterface({ input: stdout }).on('line', (line) => {
      this.#heard.push(Number(line.split(' ', 1)[0]) * 1000);
    });
    this.#ended = new Promise((resolve) => void this.#child.once('close', () => resolve()));
    this.#listening = new Promise((resolve, reject) => {
      stderr.on('data', (text: Buffer) => {
        this.#said += String(text);
        if (this.#said.includes('listening on')) resolve();
      });
      void this.#ended.then(() => reject(new Error(`tcpdump has ended: ${this.#said}`)));
    });
  }

  listening(): Promise<void> {
    return this.#listening;
  }

  /** How many packets it has heard between two times, ms of the wall clock. */
  async between(fromMs: number, toMs: number): Promise<number> {
    await pause(PRINTED_MS);
    return this.#heard.filter((ms) => ms > fromMs && ms < toMs).length;
  }

  /** Ends it. @returns how many packets it was too slow for */
  async end(): Promise<number> {
    this.#child.kill('SIGINT');
    await this.#ended;
    const [, count] = /(\d+) packets? dropped by kernel/.exec(this.#said) ?? [];
    if (count === undefined) throw new Error(`tcpdump does not say what it has dropped: ${this.#said}`);
    return Number(count);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
