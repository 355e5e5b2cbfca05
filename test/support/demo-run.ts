import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const WITH_SETUP = resolve(import.meta.dirname, '../../tools/with-setup');

/** Every process of a run inherits this variable, whoever its parent is by then. */
const MARK = 'CULVERT_DEMO_TEST';

/** For temporary files of the runs of a test; tests beside it have folders of their own in the same place. */
export class DemoRuns implements Disposable {
  readonly temporary = mkdtempSync(join(tmpdir(), 'culvert-demo-'));
  readonly #runs: DemoRun[] = [];

  start(...parameters: string[]): DemoRun {
    const run = new DemoRun(this.temporary, ...parameters);
    this.#runs.push(run);
    return run;
  }

  /** Ends what is left of them. */
  kill(): void {
    for (const run of this.#runs.splice(0)) for (const { pid } of run.processes()) process.kill(pid, 'SIGKILL');
  }

  [Symbol.dispose](): void {
    rmSync(this.temporary, { recursive: true });
  }

  /** All that a run could leave on the machine it is started on. */
  machine(): Readonly<Record<string, string>> {
    const ask = (command: string, ...rest: string[]): string => execFileSync(command, rest, { encoding: 'utf8' });
    return {
      links: ask('ip', '-j', 'link'),
      addresses: ask('ip', '-j', 'address'),
      routes: ask('ip', '-j', 'route', 'show', 'table', 'all'),
      rules: ask('nft', 'list', 'ruleset'),
      settings: ask('sh', '-c', 'grep . /proc/sys/net/ipv4/conf/*/forwarding'),
      namespaces: ask('ip', 'netns', 'list'),
      mounts: this.#mounts().join('\n'),
      temporary: readdirSync(this.temporary).join('\n'),
    };
  }

  /** Lines of proc_pid_mountinfo(5), but for those that are of tests beside this one. */
  #mounts(): string[] {
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    return lines.filter((line) => {
      const point = line.split(' ')[4] ?? '';
      return !point.startsWith(`${tmpdir()}/`) || point.startsWith(this.temporary);
    });
  }
}

/** A run of the demo as `npm run demo` starts it. */
export class DemoRun {
  readonly child: ChildProcess;
  readonly #mark = `${MARK}=${randomUUID()}`;

  constructor(temporary: string, ...parameters: string[]) {
    const [name = '', value] = this.#mark.split('=');
    this.child = spawn('bash', [WITH_SETUP, 'demo', ...parameters], {
      env: { ...process.env, TMPDIR: temporary, [name]: value },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Its processes that are there now. */
  processes(): { readonly pid: number; readonly command: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        if (!readProc(pid, 'environ').split('\0').includes(this.#mark)) return [];
        return [{ pid: Number(pid), command: readProc(pid, 'cmdline').replaceAll('\0', ' ') }];
      });
  }

  /** Programs that encrypt on hosts of the one lab that it has: they outlive their daemons. */
  encrypting(lab: string): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && readProc(name, 'comm') === 'wireguard-go\n')
      .map(Number)
      .filter((pid) => folderOf(pid).includes(`/${lab}/`));
  }

  /** The name of the folder of its lab, for {@link encrypting}. */
  lab(): string {
    const name = /culvert-underlay-\w+/.exec(this.#daemonFolder('run'))?.[0];
    if (name === undefined) throw new Error('No lab of this run is to be seen');
    return name;
  }

  /** The folder that it keeps on the disk. */
  folder(): string {
    return resolve(this.#daemonFolder('state'), '..');
  }

  /** Lets every sandbox of this run reach every other, with the daemon halted: it would put that right. */
  breakOpen(): void {
    const router = resolve(this.#daemonFolder('run'), 'netns/router');
    for (const { pid } of this.#daemons()) process.kill(pid, 'SIGSTOP');
    const inRouter = ['--target', String(this.child.pid), '--mount', 'nsenter', `--net=${router}`];
    execFileSync('nsenter', [...inRouter, 'nft', 'insert', 'rule', 'inet', 'culvert', 'forward', 'accept']);
  }

  #daemons(): ReturnType<DemoRun['processes']> {
    return this.processes().filter(({ command }) => command.includes('--state-dir'));
  }

  #daemonFolder(kind: 'state' | 'run'): string {
    const command = this.#daemons()[0]?.command;
    const folder = new RegExp(`--${kind}-dir (\\S+)`).exec(command ?? '')?.[1];
    if (folder === undefined) throw new Error('No daemon of this run is to be seen');
    return folder;
  }

  /** Resolves when it has no process any more. */
  async gone(): Promise<void> {
    for (const deadline = Date.now() + 20_000; this.processes().length > 0; ) {
      if (Date.now() > deadline) return;
      await new Promise((next) => void setTimeout(next, 20));
    }
  }
}

/** The folder that a process works in; none where it has ended. */
function folderOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(String((error as NodeJS.ErrnoException).code))) return '';
    throw error;
  }
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    // it ended meanwhile, or is another user's
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(String((error as NodeJS.ErrnoException).code))) return '';
    throw error;
  }
}
