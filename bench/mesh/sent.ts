import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineProcess } from '../../lab/line-process.ts';
import type { Stage } from '../stage.ts';
import { until } from '../until.ts';

/** ms until strace(1) has attached to every thread */
const ATTACH_MS = 20_000;
/** bytes of each call that are kept: a message to a device with all its edits */
const KEPT = 65_536;

/** What a process says to WireGuard and to the kernel, call by call, as strace(1) hears it on the wire. */
export class Sent implements AsyncDisposable {
  readonly #file: string;
  readonly #strace: LineProcess;

  private constructor(file: string, strace: LineProcess) {
    this.#file = file;
    this.#strace = strace;
  }

  /** @param pid of the process, with all its threads */
  static async listen(stage: Stage, pid: number): Promise<Sent> {
    const file = join(stage.folder, `sent-${pid}-${performance.now()}`);
    const trace = ['-f', '-qq', '-s', String(KEPT), '-e', 'trace=sendto', '-o', file, '-p', String(pid)];
    const sent = new Sent(file, new LineProcess(undefined, 'strace', trace));
    await until('strace has attached', ATTACH_MS, () => tracerOf(pid) !== 0);
    return sent;
  }

  /** Stops listening. */
  async end(): Promise<{ readonly edits: number; readonly questions: number; readonly writes: readonly string[] }> {
    await this.#strace.end('SIGINT');
    const calls = readFileSync(this.#file, 'utf8').split('\n');
    const toDevice = calls.filter((line) => /"(set|get)=1\\n/.test(line));
    const sets = toDevice.filter((line) => line.includes('"set=1\\n'));
    const toKernel = calls.filter((line) => line.includes('nlmsg_type='));
    const writes = toKernel.filter((line) => !isQuestion(line));
    const count = (text: string): number => sets.reduce((sum, line) => sum + line.split(text).length - 1, 0);
    return {
      edits: count('public_key=') + count('private_key='),
      questions: toDevice.length - sets.length + toKernel.length - writes.length,
      writes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#strace.end('SIGKILL');
  }
}

/** Of rtnetlink, whose types go by fours: new, delete, get, set. strace(1) knows their names or gives the number. */
function isQuestion(line: string): boolean {
  const [, type = ''] = /nlmsg_type=(\w+)/.exec(line) ?? [];
  return type.startsWith('0x') ? Number(type) % 4 === 2 : type.startsWith('RTM_GET');
}

function tracerOf(pid: number): number {
  return Number(/^TracerPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}
