import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { DEFAULT_CLEAR_PORT } from '../src/mesh/link.ts';
import type { Underlay } from './underlay.ts';

/** Where sandboxes have their addresses. */
const RANGE = '10.64.0.0/10';
/** What goes in clear, wrapped or as it is, as in pcap-filter(7). */
const READABLE = `udp port ${DEFAULT_CLEAR_PORT} or net ${RANGE}`;
/** bytes of each packet that are looked at */
const SNAPPED = '64';
/** KiB, of packets that wait for tcpdump(8) to have a processor */
const BUFFER = '32768';
/** ms that tcpdump may take to show what has passed: it is told to hold nothing back */
const PATIENCE_MS = 10_000;
const SHOWN_MS = 300;
/** packets kept that nobody has asked for yet */
const MAX_UNSEEN = 1_000_000;

/** A packet, and when it passed in ms of the wall clock, as a line of tcpdump(8). */
export type SeenPacket = { readonly atMs: number; readonly line: string };

type Tcpdump = ChildProcessByStdio<null, Readable, Readable>;

/** What hosts send to each other and whoever is on the wire can read, as tcpdump(8) shows it. */
export class WireWatch implements AsyncDisposable {
  readonly #tcpdump: Tcpdump;
  readonly #gone: Promise<void>;
  #unseen: SeenPacket[] = [];
  /** packets that nobody has asked for in time */
  #forgotten = 0;
  #said = '';

  private constructor(tcpdump: Tcpdump) {
    this.#tcpdump = tcpdump;
    this.#gone = new Promise((resolve) => void tcpdump.once('close', () => resolve()));
    createInterface({ input: tcpdump.stdout }).on('line', (line) => this.#hear(line));
  }

  /**
   * Watches from when this resolves on: what comes from a host is heard at its port, and once.
   *
   * @param what link of the namespace, and packets as in pcap-filter(7); hosts' in clear where absent
   * @throws Error where tcpdump does not start
   */
  static async start(
    { wire }: Pick<Underlay, 'wire'>,
    { link = 'any', filter = READABLE }: { readonly link?: string; readonly filter?: string } = {},
  ): Promise<WireWatch> {
    const links = ['-i', link, '-Q', 'in'];
    const lines = ['-n', '-q', '-tt', '-l', '--immediate-mode'];
    const options = [...links, ...lines, '-s', SNAPPED, '-B', BUFFER, filter];
    const command = [`--net=${wire}`, 'setpriv', '--pdeathsig', 'KILL', 'tcpdump', ...options];
    const watch = new WireWatch(spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'pipe'] }));
    await watch.#listening();
    return watch;
  }

  /**
   * What has passed since this was asked last.
   *
   * @param least so many packets are waited for, for some time
   * @throws Error where nobody watches any more
   */
  async seen(least = 0): Promise<readonly SeenPacket[]> {
    const deadline = performance.now() + PATIENCE_MS;
    // oxlint-disable-next-line no-await-in-loop -- looked at again and again
    do await pause(SHOWN_MS);
    while (this.#unseen.length < least && performance.now() < deadline);
    if (this.#tcpdump.exitCode !== null || this.#tcpdump.signalCode !== null) throw this.#ended();
    const seen = this.#unseen;
    this.#unseen = [];
    return seen;
  }

  /** Ends it. @returns how many packets it was too slow for, or has forgotten */
  async end(): Promise<number> {
    this.#tcpdump.kill('SIGINT');
    await this.#gone;
    const [, count] = /(\d+) packets? dropped by kernel/.exec(this.#said) ?? [];
    if (count === undefined) throw this.#ended();
    return Number(count) + this.#forgotten;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tcpdump.kill('SIGKILL');
    await this.#gone;
  }

  #hear(line: string): void {
    if (this.#unseen.length === MAX_UNSEEN) this.#forgotten++;
    else this.#unseen.push({ atMs: Number(line.split(' ', 1)[0]) * 1000, line });
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#tcpdump.stderr.setEncoding('utf8').on('data', (chunk: string) => {
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
