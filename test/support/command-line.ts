import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { LabHost } from '../../lab/host.ts';

export const CULVERT = resolve(import.meta.dirname, '../../bin/culvert');

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** What a process prints until it ends, and its exit code. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const { promise, resolve: resolveCode } = Promise.withResolvers<number | null>();
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      printed[name] += chunk;
    });
  }
  child.once('close', resolveCode);
  const code = await promise;
  return { code, ...printed };
}

/** The first line that a process prints which `pattern` matches. Throws where it ends before. */
export async function lineOf(child: ChildProcess, pattern: RegExp): Promise<string> {
  let printed = '';
  const { promise, resolve: resolveLine, reject } = Promise.withResolvers<string>();
  child.stdout?.on('data', (chunk: string) => {
    printed += chunk;
    const line = printed
      .split('\n')
      .slice(0, -1)
      .find((it) => pattern.test(it));
    if (line !== undefined) resolveLine(line);
  });
  const { code, stderr } = await Promise.race([ended(child), promise.then(() => ({ code: null, stderr: '' }))]);
  reject(new Error(`Ended with ${code} before it printed ${pattern}: ${stderr}`));
  return promise;
}

type Options = {
  /** What stands before the command: variables such as `A=1`, or a command that runs it. */
  readonly before?: readonly string[];
  /** The config, but for its folders. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Options of `culvert up` after all others. */
  readonly parameters?: readonly string[];
};

/** Small pools: a daemon that is started many times should not make a hundred networks each time. */
const POOL = { microvm: 1, netns: 1, bridge: 1 };

/** One daemon's command line on a host: `bin/culvert`, as a person runs it. */
export class CommandLine {
  readonly runDir: string;
  readonly stateDir: string;
  readonly #host: LabHost;
  readonly #name: string;
  #daemon: ChildProcess | undefined;
  /** What the daemon has written to stderr since it is up. */
  log = '';

  constructor(host: LabHost, name = 'main') {
    this.#host = host;
    this.#name = name;
    const folder = join(host.folder, name);
    mkdirSync(folder);
    this.runDir = join(folder, 'run');
    this.stateDir = join(folder, 'state');
  }

  get socket(): string {
    return join(this.runDir, 'api.sock');
  }

  /** Starts `culvert up` and returns the line that says that it is ready. */
  async up(options: Options = {}): Promise<string> {
    const child = this.start(options);
    this.log = '';
    child.stderr?.on('data', (chunk: string) => {
      this.log += chunk;
    });
    const line = await lineOf(child, /./);
    this.#daemon = child;
    return line;
  }

  /** Starts `culvert up` and leaves the rest to the caller. */
  start({ before = [], config = {}, parameters = [] }: Options = {}): ChildProcess {
    const file = join(this.#host.folder, this.#name, 'config.json');
    writeFileSync(file, JSON.stringify({ pool: POOL, ...config }));
    const folders = ['--state-dir', this.stateDir, '--run-dir', this.runDir];
    const up = [CULVERT, 'up', ...folders, '--config', file, '--name', this.#name, ...parameters];
    return this.#host.spawn('host', 'env', ...before, ...up);
  }

  /** Sends the daemon a signal and waits for its end. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) throw new Error('No daemon was started');
    const gone = new Promise((resolveGone) => {
      daemon.once('exit', resolveGone);
    });
    daemon.kill(signal);
    await gone;
  }

  /** The daemon's exit code, when it has ended. */
  get exitCode(): number | null | undefined {
    return this.#daemon?.exitCode;
  }

  /** Runs a command to its end. */
  run(...parameters: string[]): Promise<Ended> {
    return ended(this.spawn(...parameters));
  }

  /** Starts a command. */
  spawn(...parameters: string[]): ChildProcess {
    return this.#host.spawn('host', 'env', `CULVERT_SOCKET=${this.socket}`, CULVERT, ...parameters);
  }

  /** Runs a command that must succeed, and returns what it prints. */
  async ok(...parameters: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...parameters);
    if (code !== 0) throw new Error(`culvert ${parameters.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** The same with `--json`, read. */
  async json<Result>(...parameters: string[]): Promise<Result> {
    const [command = '', ...rest] = parameters;
    return JSON.parse(await this.ok(command, '--json', ...rest)) as Result;
  }
}
