import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNamespace, NamespaceHandle, removeNamespace } from '../../src/linux/namespace.ts';
import { readSysctl } from '../../src/linux/sysctl.ts';
import { DnsMachine } from '../../src/tunnel/dns/testing/machine.ts';
import { AlteredSysctls } from '../../src/tunnel/journal/altered-sysctls.ts';
import { contentOf, readFileState } from '../../src/tunnel/journal/file-state.ts';
import { MARK, wantOf } from '../support/dns-process.ts';
import { readWhenFinished } from '../support/kill-points.ts';
import { hasOpenresolv, installOpenresolv } from '../support/openresolv.ts';

/*
 * A client that sets a tunnel's name servers, or goes, is killed at the entry of each of its system calls that change
 * something. Then another comes, which either undoes what the first has left or connects by the same name. What was there
 * before the first tunnel comes back byte for byte, and nothing else is left.
 */

const PROCESS = join(import.meta.dirname, '..', 'support', 'dns-process.ts');
/** Those that what is left can tell apart: not fsync, say. */
const FILE_CALLS = ['mkdir', 'openat', 'write', 'pwrite64', 'ftruncate', 'fchmod', 'fchown'];
const FOLDER_CALLS = ['rename', 'symlink', 'unlink', 'unlinkat', 'rmdir'];
/** of a client that runs a program, which goes on without it */
const PROGRAM_CALLS = ['vfork', 'clone', 'clone3', 'wait4', 'epoll_wait', 'epoll_pwait'];

const WAKING = /write\(\d+, "\\1(\\0){7}", 8\)/;

const BEFORE = Buffer.from('# caf\xe9\nsearch home.example\nnameserver 192.0.2.1\n\n', 'latin1');

/** Runs a client, and says whether it was killed. */
function run(parameters: readonly string[], strace: string, namespace?: string): boolean {
  const inside = namespace === undefined ? [] : ['nsenter', `--net=${namespace}`];
  const [program = '', ...rest] = [...inside, process.execPath, PROCESS, ...parameters];
  const { status, signal, stderr } = spawnSync(program, rest, {
    encoding: 'utf8',
    env: { ...process.env, STRACE: strace },
    timeout: 60_000,
  });
  if (status !== 0 && signal !== 'SIGKILL') throw new Error(`${parameters.join(' ')} failed: ${stderr}`);
  return signal !== null;
}

/** Where to kill a client: of each of its calls, which ones. */
function pointsOf(lines: readonly string[]): { call: string; nth: number }[] {
  const counts = new Map<string, number>();
  return lines.flatMap((line) => {
    const [, call = ''] = /^(?:\d+ +)?(\w+)\(/.exec(line) ?? [];
    const nth = (counts.get(call) ?? 0) + 1;
    counts.set(call, nth);
    // to wake another thread is to write to it
    const isReading = call === 'openat' ? !/O_CREAT|O_TRUNC|O_RDWR/.test(line) : WAKING.test(line);
    return call === '' || isReading ? [] : [{ call, nth }];
  });
}

type Case = {
  readonly parameters: (root: string) => readonly string[];
  readonly calls: readonly string[];
  readonly namespace?: string;
  /** Makes what is there before the client. */
  readonly begin: () => void;
  /** Comes after a client that was killed, by undoing or by connecting first, and looks at what is there. */
  readonly end: (how: 'undoes' | 'connects', when: string) => void;
};

function killEverywhere(machine: DnsMachine, { parameters, calls, namespace, begin, end }: Case): void {
  const log = join(machine.root, 'strace.log');
  // the first process of all compiles what the others find compiled, and writes that to files too
  begin();
  run(parameters(machine.root), '-o /dev/null -e trace=none', namespace);
  end('undoes', 'not killed');
  begin();
  run(parameters(machine.root), `-o ${log} -e trace=${calls.join(',')}`, namespace);
  const points = pointsOf(readWhenFinished(log));
  end('undoes', 'not killed');
  let killed = 0;
  for (const [at, { call, nth }] of points.entries()) {
    for (const how of ['undoes', 'connects'] as const) {
      begin();
      const strace = `-o /dev/null -e trace=${call} -e inject=${call}:signal=KILL:when=${nth}`;
      if (run(parameters(machine.root), strace, namespace)) killed++;
      end(how, `killed at ${call} ${nth}, step ${at + 1} of ${points.length}; another ${how}`);
    }
  }
  expect(points.length).toBeGreaterThan(5);
  // how often it waits for a program, and for itself to end, depends on time
  expect(killed).toBeGreaterThan(1.4 * points.length);
}

let machine: DnsMachine;
beforeEach(() => {
  machine = new DnsMachine();
});
afterEach(() => machine[Symbol.dispose]());

const KINDS: Readonly<Record<string, () => void>> = {
  'a file': () => writeFileSync(machine.resolvConf, BEFORE, { mode: 0o640 }),
  'a link': () => {
    writeFileSync(join(machine.root, 'elsewhere', 'target'), BEFORE);
    symlinkSync('../elsewhere/target', machine.resolvConf);
  },
  nothing: () => undefined,
  'a mount': () => machine.mountFile(BEFORE),
};

/** The client is wg1, below it is wg0 or nobody, and above it is wg2 or nobody. */
const SITUATIONS = [
  { name: 'the first tunnel comes', command: 'set', others: [] },
  { name: 'a tunnel comes on top of another', command: 'set', others: ['wg0'] },
  { name: 'the last tunnel goes', command: 'unset', others: [] },
  { name: 'a tunnel goes from below another', command: 'unset', others: ['wg2'] },
] as const;

describe.each(Object.keys(KINDS))('where resolv.conf is %s', (kind) => {
  // what comes between differs by how it is written, and not by what was there before all
  const isAll = kind === 'a file' || kind === 'a mount';
  it.each(SITUATIONS.filter(({ others }) => isAll || others.length === 0))(
    '$name',
    { timeout: 600_000 },
    ({ command, others }) => {
      KINDS[kind]?.();
      const original = readFileState(machine.resolvConf);
      const set = (tunnel: string): unknown => machine.dns().set(tunnel, tunnel, wantOf(tunnel), 'file');
      const text = (): string | undefined => contentOf(readFileState(machine.resolvConf))?.toString('latin1');
      const withOthers = (): string | undefined => {
        for (const tunnel of others) set(tunnel);
        const found = text();
        for (const tunnel of others) machine.dns().unset(tunnel);
        return found;
      };
      const undone = withOthers();
      killEverywhere(machine, {
        parameters: (root) => [root, command, 'wg1'],
        calls: [...FILE_CALLS, ...FOLDER_CALLS],
        begin: () => {
          if (command === 'unset') set('wg1');
          for (const tunnel of others) set(tunnel);
        },
        end: (how, when) => {
          if (how === 'connects') {
            set('wg1');
            expect(text(), when).toContain('nameserver 10.1.0.53\nsearch wg1.example\n');
          }
          machine.dns().unset('wg1');
          expect(text(), when).toBe(undone);
          for (const tunnel of others) machine.dns().unset(tunnel);
          expect(readFileState(machine.resolvConf), when).toEqual(original);
          expect(machine.leftovers(), when).toEqual([]);
        },
      });
    },
  );
});

describe.runIf(hasOpenresolv)('with openresolv', () => {
  it.each(['set', 'unset'] as const)('%s', { timeout: 600_000 }, (command) => {
    writeFileSync(machine.resolvConf, BEFORE, { mode: 0o640 });
    installOpenresolv(machine);
    const original = readFileState(machine.resolvConf);
    const set = (): unknown => machine.dns().set('wg1', 'wg1', wantOf('wg1'), 'resolvconf');
    killEverywhere(machine, {
      parameters: (root) => [root, command, 'wg1', 'resolvconf'],
      calls: [...FILE_CALLS, ...FOLDER_CALLS, ...PROGRAM_CALLS],
      begin: () => {
        if (command === 'unset') set();
      },
      end: (how, when) => {
        if (how === 'connects') {
          set();
          expect(readFileSync(machine.resolvConf, 'utf8'), when).toContain('nameserver 10.1.0.53');
        }
        machine.dns().unset('wg1');
        expect(readFileState(machine.resolvConf), when).toEqual(original);
        // the program keeps what was there before it
        expect(
          machine.leftovers().filter((name) => name !== 'resolv.conf.bak'),
          when,
        ).toEqual([]);
      },
    });
  });
});

describe('a setting', () => {
  it.each(['want', 'release'] as const)('%s', { timeout: 600_000 }, (command) => {
    const pin = join(machine.root, 'pin');
    createNamespace(pin, () => undefined);
    using inside = new NamespaceHandle(pin);
    const sysctls = new AlteredSysctls(machine.journals, 'boot');
    try {
      killEverywhere(machine, {
        parameters: (root) => [root, command, 'wg1'],
        calls: [...FILE_CALLS, ...FOLDER_CALLS],
        namespace: pin,
        begin: () => {
          if (command === 'release') inside.run(() => sysctls.want('wg1', MARK, '1'));
        },
        end: (how, when) =>
          inside.run(() => {
            if (how === 'connects') {
              sysctls.want('wg1', MARK, '1');
              expect(readSysctl(MARK), when).toBe('1');
            }
            sysctls.release('wg1');
            expect(readSysctl(MARK), when).toBe('0');
            expect(machine.leftovers(), when).toEqual([]);
          }),
      });
    } finally {
      removeNamespace(pin);
    }
  });
});
