import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** lines kept that nobody has asked for yet */
const MAX_UNREAD = 1000;
/** bytes kept of what a process says on stderr, for the error that names it */
const MAX_COMPLAINT = 4096;

/** A process that answers each line it is given with one line. It ends when it is disposed of, and with this process. */
export class LineProcess implements Disposable {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #unread: string[] = [];
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  readonly #ended: Promise<number | null>;
  #complaint = '';
  #failure: Error | undefined;

  /** @param namespace the path of a network namespace to run in, absent for this process's own */
  constructor(namespace: string | undefined, command: string, parameters: readonly string[]) {
    this.#name = command;
    const line = ['--pdeathsig', 'KILL', '--', command, ...parameters];
    const [program = '', ...rest] =
      namespace === undefined ? ['setpriv', ...line] : ['nsenter', `--net=${namespace}`, 'setpriv', ...line];
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (answer) => this.#hear(answer));
    child.stderr.on('data', (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-MAX_COMPLAINT);
    });
    // Its end is told below; a write that comes too late tells nothing more.
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => this.#fail(error));
    this.#ended = new Promise((resolve) => void child.once('close', resolve));
    child.once('close', (code, signal) =>
      this.#fail(new Error(`it ended with ${signal ?? code}: ${this.#complaint.trim()}`)),
    );
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} has not started`);
    return this.#child.pid;
  }

  /** Gives it a line and waits for the next one of it. @throws Error where it ends before */
  ask(line: string): Promise<string> {
    const answer = this.line();
    this.#child.stdin?.write(`${line}\n`);
    return answer;
  }

  /** The next line that it prints, or has printed and nobody has read: of many that nobody reads the oldest are lost. */
  line(): Promise<string> {
    const unread = this.#unread.shift();
    if (unread !== undefined) return Promise.resolve(unread);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => void this.#waiting.push({ resolve, reject }));
  }

  /** Sends a signal and resolves when it has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#child.kill(signal);
    await this.#ended;
  }

  /** Resolves when it has ended, with its exit code; null where a signal ended it. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }

  #hear(line: string): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting.resolve(line);
    this.#unread.push(line);
    if (this.#unread.length > MAX_UNREAD) this.#unread.shift();
  }

  #fail(cause: Error): void {
    this.#failure ??= new Error(`Cannot ask ${this.#name}: ${cause.message}`, { cause });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
