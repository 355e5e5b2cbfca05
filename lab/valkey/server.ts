import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

export const VALKEY_PORT = 6379;

/** The programs that are one, whichever the machine's release has. */
const PROGRAMS = ['valkey-server', 'redis-server'];

/** bytes, of the values that it may hold */
const MEMORY = '64mb';

/** A Valkey, or the Redis that it was, in a namespace; it keeps nothing on a disk and ends with this process. */
export class LabValkey implements Disposable {
  /** What it is, such as `redis-server`. */
  readonly program: string;
  readonly #process: ChildProcess;

  private constructor(program: string, process: ChildProcess) {
    this.program = program;
    this.#process = process;
  }

  /** @param netns path of the namespace @throws Error where there is no such program, or it ends */
  static async start(netns: string): Promise<LabValkey> {
    const program = PROGRAMS.find((name) => spawnSync(name, ['--version']).status === 0);
    if (program === undefined) throw new Error(`Neither ${PROGRAMS.join(' nor ')} is there`);
    const options = {
      port: String(VALKEY_PORT),
      bind: '0.0.0.0',
      'protected-mode': 'no',
      save: '',
      appendonly: 'no',
      maxmemory: MEMORY,
    };
    const parameters = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const command = [`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', program, ...parameters];
    const child = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'inherit'] });
    const valkey = new LabValkey(program, child);
    await valkey.#ready();
    return valkey;
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL');
  }

  async #ready(): Promise<void> {
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('Its output is piped');
    const said: string[] = [];
    for await (const line of createInterface({ input: stdout })) {
      said.push(line);
      if (!line.includes('Ready to accept connections')) continue;
      stdout.resume();
      return;
    }
    throw new Error(`${this.program} ended: ${said.slice(-3).join('; ')}`);
  }
}
