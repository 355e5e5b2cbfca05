import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { GET } from './uapi.ts';
import { UapiSocket } from './uapi-socket.ts';

/**
 * Where wireguard-go makes its socket is compiled in and the same for all namespaces of the network: two of one name
 * would take it from each other. So it sees a folder of our own there:
 *
 *     its mount namespace    /run/wireguard ── the folder ── NAME.sock    ours
 *
 * The folder may be below /run, where nobody finds it any more by its path: it is bound as what it is, not as it is called.
 * It goes to the background when its link and its socket are there, and has no capability but for networks. Until then
 * it ends with who starts it: what came later would be a link that nobody has said whose it is, and in the way of the next.
 */
const SCRIPT = `
  set -e
  # it may have ended before that was said
  [ "$PPID" = "$3" ]
  cd "$1"
  mount -t tmpfs -o mode=0755 culvert /run
  mkdir /run/wireguard
  mount --no-canonicalize --bind . /run/wireguard
  exec setpriv --no-new-privs --bounding-set=-all,+net_admin wireguard-go "$2"`;

/** How long it may take until it answers. */
const START_MS = 10_000;

/**
 * A wireguard-go that starts, in the network namespace of the thread that started it: its link and its UDP socket are
 * born there. It outlives this process, and ends when its link or its socket is removed. Nobody waits for it: it is asked
 * from time to time whether it is there.
 */
export class ProgramStart implements Disposable {
  readonly #folder: string;
  readonly #name: string;
  readonly #deadline = performance.now() + START_MS;
  readonly #child: ChildProcess;
  /** how it ended that was to go to the background */
  #end: string | undefined;
  /** to who is there, and has yet to answer */
  #socket: UapiSocket | undefined;

  /**
   * @param folder for its socket and its log
   * @param name of the link
   */
  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const log = openSync(join(folder, `${name}.log`), 'w', 0o600);
    try {
      const script = ['sh', '-c', SCRIPT, 'sh', folder, name, String(process.pid)];
      const parameters = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'private', ...script];
      this.#child = spawn('setpriv', parameters, {
        stdio: ['ignore', log, log],
        // who ends the daemon from a terminal does not mean it
        detached: true,
        env: { PATH: process.env['PATH'], LOG_LEVEL: 'error' },
      });
    } finally {
      closeSync(log);
    }
    // what could not be run has no id, and is told of later
    if (this.#child.pid === undefined) this.#end = 'there is no setpriv(1)';
    this.#child.once('error', ({ message }) => (this.#end = message));
    this.#child.once('exit', (status, signal) => {
      if (status !== 0) this.#end = `it ended with ${signal ?? status}`;
    });
    this.#child.unref();
  }

  /**
   * Whether it is there. What is in the background by now has yet to look for its link by name, and ends where that has
   * been moved away or renamed meanwhile; when it answers it has.
   *
   * @throws CulvertError `no_wireguard` where there is no such program; `wireguard_failed` with what it said
   */
  isDone(): boolean {
    if (this.#hasAnswered()) return true;
    if (this.#end !== undefined) fail(this.#folder, this.#name, this.#end);
    if (performance.now() > this.#deadline) fail(this.#folder, this.#name, `it has not begun in ${START_MS} ms`);
    return false;
  }

  /** Lets go of it; one that has not started yet will not. */
  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
    const { exitCode, signalCode, pid } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) this.#child.kill('SIGKILL');
  }

  #hasAnswered(): boolean {
    try {
      if (this.#socket === undefined) {
        this.#socket = new UapiSocket(this.#folder, `${this.#name}.sock`);
        this.#socket.say(GET);
      }
      return this.#socket.hasSaid();
    } catch (error) {
      // it does not listen yet, or not any more
      if (!(error instanceof CulvertError && error.code === 'wireguard_away')) throw error;
      this.#socket?.[Symbol.dispose]();
      this.#socket = undefined;
      return false;
    }
  }
}

function fail(folder: string, name: string, how: string): never {
  // it opens with a box that recommends the kernel's own
  const said = readFileSync(join(folder, `${name}.log`), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !/^[┌│└]/.test(line))
    .join('; ');
  const isMissing = /wireguard-go: No such file/.test(said);
  throw new CulvertError(
    isMissing ? 'no_wireguard' : 'wireguard_failed',
    `Cannot start a WireGuard in user space for ${name}: ${how}${said === '' ? '' : `: ${said}`}`,
  );
}
