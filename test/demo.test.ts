import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ended, lineOf } from './support/command-line.ts';

const WITH_SETUP = resolve(import.meta.dirname, '../tools/with-setup');
const DEMO = resolve(import.meta.dirname, '../demo/main.ts');

/** Every process of a run inherits this variable, whoever its parent is by then. */
const MARK = 'CULVERT_DEMO_TEST';

/** For temporary files of the runs; tests beside this one have folders of their own in the same place. */
const temporary = mkdtempSync(join(tmpdir(), 'culvert-demo-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** A run of the demo as `npm run demo` starts it. */
class Run {
  readonly child: ChildProcess;
  readonly #mark = `${MARK}=${randomUUID()}`;

  constructor(...parameters: string[]) {
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

  /** The folder that it keeps on the disk. */
  folder(): string {
    return resolve(this.#daemonFolder('state'), '..');
  }

  /** Lets every sandbox of this run reach every other, again and again: the daemon puts right what it sees. */
  breakOpen(): ChildProcess {
    const router = resolve(this.#daemonFolder('run'), 'netns/router');
    const inRouter = ['--target', String(this.child.pid), '--mount', 'nsenter', `--net=${router}`];
    const open = 'while nft insert rule inet culvert forward accept; do sleep 0.01; done';
    return spawn('nsenter', [...inRouter, 'sh', '-c', open], { stdio: 'ignore' });
  }

  #daemonFolder(kind: 'state' | 'run'): string {
    const command = this.processes().find((one) => one.command.includes('--state-dir'))?.command;
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

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    // it ended meanwhile, or is another user's
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(String((error as NodeJS.ErrnoException).code))) return '';
    throw error;
  }
}

/** All that a run could leave on the machine it is started on. */
function machine(): Readonly<Record<string, string>> {
  return {
    links: execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' }),
    addresses: execFileSync('ip', ['-j', 'address'], { encoding: 'utf8' }),
    routes: execFileSync('ip', ['-j', 'route', 'show', 'table', 'all'], { encoding: 'utf8' }),
    rules: execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
    settings: execFileSync('sh', ['-c', 'grep . /proc/sys/net/ipv4/conf/*/forwarding'], { encoding: 'utf8' }),
    namespaces: execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }),
    mounts: mounts().join('\n'),
    temporary: readdirSync(temporary).join('\n'),
  };
}

/** Lines of proc_pid_mountinfo(5), but for those that are of tests beside this one. */
function mounts(): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.filter((line) => {
    const point = line.split(' ')[4] ?? '';
    return !point.startsWith(`${tmpdir()}/`) || point.startsWith(temporary);
  });
}

const runs: Run[] = [];
function start(...parameters: string[]): Run {
  const run = new Run(...parameters);
  runs.push(run);
  return run;
}

afterEach(() => {
  for (const run of runs.splice(0)) for (const { pid } of run.processes()) process.kill(pid, 'SIGKILL');
});

describe('the demo', () => {
  it('proves what it claims, prints what it measured, and leaves the machine as it was', {
    timeout: 300_000,
  }, async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const folder = lineOf(run.child, /is ready after/).then(() => run.folder());
    const { code, stdout, stderr } = await ended(run.child);
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/✓ the daemon was killed in the middle of creations/);
    expect(stdout.match(/✓ no packet was lost from/g)).toHaveLength(4);
    expect(stdout).toMatch(/^WHAT +MEASURED +HOW$/m);
    expect(stdout).toMatch(/^packets while the daemon was killed +\d+ sent, 0 lost /m);
    expect(stdout).toMatch(/^sandboxes +27 /m);
    // plain lines where nobody looks on at a terminal
    expect(stdout).not.toContain('\u001b');
    expect(run.processes()).toEqual([]);
    expect(existsSync(await folder)).toBe(false);
    expect(machine()).toEqual(before);
  });

  it('fails, names the proof and shows the evidence where a sandbox does reach another', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Somebody moves in/);
    const burglar = run.breakOpen();
    const { code, stdout, stderr } = await end.finally(() => burglar.kill('SIGKILL'));
    expect({ code }, stdout).toEqual({ code: 1 });
    expect(stderr).toMatch(/✗ Not so: netns-1 does not reach netns-2\n +done +sent 5 packets to 10\.11\.0\.5\n/);
    expect(stderr).toMatch(/observed .*arrived: \[\s*{ from: '10\.11\.0\.2'/s);
    expect(stdout).not.toContain('MEASURED');
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(machine()).toEqual(before);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Two sandboxes do not see each other/);
    const folder = run.folder();
    run.child.kill('SIGINT');
    expect((await end).code).toBe(130);
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    expect(machine()).toEqual(before);
  });

  it('leaves no more than a folder in the checkout when it is killed, which the next run takes away', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Two sandboxes do not see each other/);
    const folder = run.folder();
    run.child.kill('SIGKILL');
    await end;
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(machine()).toEqual(before);
    expect(existsSync(folder)).toBe(true);

    const next = start('--sandboxes', '24');
    const nextEnd = ended(next.child);
    await lineOf(next.child, /is ready after/);
    expect(existsSync(folder)).toBe(false);
    next.child.kill('SIGTERM');
    expect((await nextEnd).code).toBe(143);
  });

  it.each(['--sandboxes=1', '--sandboxes=many', '--fast'])('refuses %s', async (parameter) => {
    const { code, stdout, stderr } = await ended(
      spawn(process.execPath, [DEMO, parameter], { stdio: ['ignore', 'pipe', 'pipe'] }),
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^(Cannot use "(1|many)" as --sandboxes: want 24 to 600|Unknown option '--fast')/);
    expect(stderr).toContain('usage: npm run demo');
  });
});
