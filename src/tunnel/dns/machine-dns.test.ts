import { readFileSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseIp } from '../../addr/ip.ts';
import { readFileState } from '../journal/file-state.ts';
import { renderResolvConf } from './resolv-conf.ts';
import { DnsMachine } from './testing/machine.ts';
import { dnsText, type WantedDns } from './wanted.ts';

const OFFICE = wanted(['10.0.0.53', 'fd00::53'], 'corp.example');
const LAB = wanted(['10.9.0.1']);
/** no newline at its end, and a byte that is no text */
const BEFORE = Buffer.from('# caf\xe9\nsearch home.example\nnameserver 192.0.2.1', 'latin1');

function wanted(servers: readonly string[], ...search: readonly string[]): WantedDns {
  return { servers: servers.map(parseIp), search };
}

let machine: DnsMachine;
beforeEach(() => {
  machine = new DnsMachine();
});
afterEach(() => machine[Symbol.dispose]());

const text = (): string => readFileSync(machine.resolvConf, 'utf8');
const set = (tunnel: string, want: WantedDns, choice: Parameters<ReturnType<DnsMachine['dns']>['set']>[3] = 'file') =>
  machine.dns().set(tunnel, tunnel, want, choice);
const unset = (tunnel: string) => machine.dns().unset(tunnel);

const KINDS: readonly (readonly [string, () => void])[] = [
  ['a file', () => writeFileSync(machine.resolvConf, BEFORE, { mode: 0o640 })],
  [
    'a link',
    () => {
      writeFileSync(join(machine.root, 'elsewhere', 'target'), BEFORE);
      symlinkSync('../elsewhere/target', machine.resolvConf);
    },
  ],
  ['a link to nowhere', () => symlinkSync('../elsewhere/nothing', machine.resolvConf)],
  ['nothing', () => undefined],
  ['a mount', () => machine.mountFile(BEFORE)],
  [
    'a link to a mount',
    () => {
      const target = join(machine.root, 'elsewhere', 'target');
      symlinkSync('../elsewhere/target', machine.resolvConf);
      machine.mountFile(BEFORE, target);
    },
  ],
  [
    'a link from a folder that is read-only',
    () => {
      writeFileSync(join(machine.root, 'elsewhere', 'target'), BEFORE);
      symlinkSync('../elsewhere/target', machine.resolvConf);
      machine.freezeEtc();
    },
  ],
];

describe.each(KINDS)('where resolv.conf is %s', (_, prepare) => {
  beforeEach(prepare);

  it('sets a tunnel’s name servers, and brings back what was there', () => {
    const before = readFileState(machine.resolvConf);
    expect(set('wg0', OFFICE)).toEqual({ way: 'file', notices: [] });
    expect(text()).toContain('nameserver 10.0.0.53\nnameserver fd00::53\nsearch corp.example\n');
    expect(machine.dns().tunnels()).toEqual(['wg0']);
    expect(unset('wg0')).toEqual({ outcome: 'restored', notices: [] });
    expect(readFileState(machine.resolvConf)).toEqual(before);
    expect(unset('wg0')).toEqual({ outcome: 'nothing', notices: [] });
    expect(machine.leftovers()).toEqual([]);
  });

  it('has tunnels stacked in any order', () => {
    const before = readFileState(machine.resolvConf);
    const below = Buffer.from('bytes' in before ? (before.bytes ?? '') : '', 'base64').toString();
    const act = fc.record({ tunnel: fc.constantFrom('a', 'b', 'c'), want: fc.constantFrom(OFFICE, LAB, undefined) });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 12 }), (acts) => {
        let stack: { tunnel: string; want: ReturnType<typeof dnsText> }[] = [];
        for (const { tunnel, want } of acts) {
          stack = stack.filter((other) => other.tunnel !== tunnel);
          if (want === undefined) unset(tunnel);
          else {
            set(tunnel, want);
            stack.push({ tunnel, want: dnsText(want) });
          }
          if (stack.length === 0) expect(readFileState(machine.resolvConf)).toEqual(before);
          else expect(text()).toBe(renderResolvConf(stack, below));
        }
        for (const { tunnel } of stack) unset(tunnel);
        expect(readFileState(machine.resolvConf)).toEqual(before);
        expect(machine.leftovers()).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it('leaves what somebody else wrote meanwhile', () => {
    set('wg0', OFFICE);
    writeFileSync(machine.resolvConf, 'nameserver 192.0.2.99\n');
    const foreign = readFileState(machine.resolvConf);
    expect(unset('wg0')).toEqual({ outcome: 'foreign', notices: [expect.stringContaining('somebody else')] });
    expect(readFileState(machine.resolvConf)).toEqual(foreign);
    expect(machine.leftovers()).toEqual([]);
  });

  it('brings back what somebody else wrote before another tunnel came', () => {
    set('wg0', OFFICE);
    writeFileSync(machine.resolvConf, 'nameserver 192.0.2.99\n');
    const foreign = readFileState(machine.resolvConf);
    expect(set('wg1', LAB).notices).toHaveLength(1);
    expect(unset('wg0')).toEqual({ outcome: 'nothing', notices: [] });
    expect(text()).toContain('nameserver 10.9.0.1\n');
    expect(unset('wg1').outcome).toBe('restored');
    expect(readFileState(machine.resolvConf)).toEqual(foreign);
  });

  it('tells whom the machine asked before', () => {
    const before = machine.dns().nameserversBefore();
    set('wg0', OFFICE);
    set('wg1', LAB);
    expect(machine.dns().nameserversBefore()).toEqual(before);
    unset('wg1');
    unset('wg0');
    expect(machine.dns().nameserversBefore()).toEqual(before);
  });
});

describe('resolv.conf', () => {
  it('keeps its inode where it is mounted, and its mode and owner where it is not', () => {
    machine.mountFile('nameserver 192.0.2.1\n');
    const { ino } = statSync(machine.resolvConf);
    set('wg0', OFFICE);
    expect(statSync(machine.resolvConf).ino).toBe(ino);
    unset('wg0');
    expect(statSync(machine.resolvConf).ino).toBe(ino);
  });

  it('is known by any first part of what was being written where it is mounted', () => {
    machine.mountFile(BEFORE);
    const before = readFileState(machine.resolvConf);
    set('wg0', OFFICE);
    const [name = ''] = machine.leftovers();
    const journal = join(machine.journals, name);
    const underWay = readFileSync(journal, 'utf8').replace('"isSettled":true', '"isSettled":false');
    for (const whole of [readFileSync(machine.resolvConf), BEFORE]) {
      for (let length = 0; length < whole.length; length++) {
        writeFileSync(journal, underWay);
        writeFileSync(machine.resolvConf, whole.subarray(0, length));
        expect(unset('wg0').outcome).toBe('restored');
        expect(readFileState(machine.resolvConf)).toEqual(before);
      }
    }
  });

  it('is not touched where it is read-only', () => {
    machine.mountFile('nameserver 192.0.2.1\n', machine.resolvConf, true);
    expect(() => set('wg0', OFFICE)).toThrow(
      expect.objectContaining({ code: 'file_unwritable', message: expect.stringContaining('EROFS') as string }),
    );
    expect(text()).toBe('nameserver 192.0.2.1\n');
    expect(machine.leftovers()).toEqual([]);
  });

  it('is not written where it wants what is there', () => {
    writeFileSync(machine.resolvConf, BEFORE);
    set('wg0', OFFICE);
    utimesSync(machine.resolvConf, 1, 1);
    set('wg0', OFFICE);
    expect(statSync(machine.resolvConf).mtimeMs).toBe(1000);
    unset('wg0');
  });

  it('comes back after a boot, though its disk may have another number by then', () => {
    writeFileSync(machine.resolvConf, BEFORE);
    set('wg0', OFFICE);
    machine.renumber();
    expect(machine.dns('next boot').unset('wg0').outcome).toBe('restored');
    expect(readFileSync(machine.resolvConf)).toEqual(BEFORE);
    expect(machine.leftovers()).toEqual([]);
  });

  it('is not taken for its own in another mount namespace of the same boot', () => {
    writeFileSync(machine.resolvConf, BEFORE);
    set('wg0', OFFICE);
    machine.mountFile('nameserver 192.0.2.7\n');
    expect(unset('wg0').outcome).toBe('nothing');
    expect(set('wg1', LAB).notices).toEqual([]);
    expect(unset('wg1').outcome).toBe('restored');
    expect(text()).toBe('nameserver 192.0.2.7\n');
    machine.unmount();
    expect(unset('wg0').outcome).toBe('restored');
    expect(readFileSync(machine.resolvConf)).toEqual(BEFORE);
  });

  it('says that what was there is lost where the journal is', () => {
    set('wg0', OFFICE);
    rmSync(machine.journals, { recursive: true });
    expect(set('wg0', OFFICE).notices).toEqual([expect.stringContaining('lost')]);
  });

  it('stays, and says so, where the journal cannot be read', () => {
    writeFileSync(machine.resolvConf, BEFORE);
    set('wg0', OFFICE);
    const [journal = ''] = machine.leftovers();
    writeFileSync(join(machine.journals, journal), '{"version":1');
    expect(() => unset('wg0')).toThrow(expect.objectContaining({ code: 'journal_unreadable' }));
    expect(text()).toContain('nameserver 10.0.0.53');
  });

  it('takes no words that would be lines or options', () => {
    for (const domain of ['a b', 'a\nnameserver 192.0.2.66', '', '.', `${'a'.repeat(64)}.example`])
      expect(() => set('wg0', wanted(['10.0.0.1'], domain))).toThrow(
        expect.objectContaining({ code: 'invalid_search_domain' }),
      );
    expect(() => set('../wg0', OFFICE)).toThrow(expect.objectContaining({ code: 'invalid_tunnel_name' }));
  });
});

const RECORDING = 'echo "$0 $*" | sed "s,.*/,," >>"$calls"; case $1 in -a) sed "s/^/< /" >>"$calls" ;; esac';

describe('programs that set name servers', () => {
  beforeEach(() => writeFileSync(machine.resolvConf, 'nameserver 127.0.0.1\n'));

  it('has resolvconf called as wg-quick does', () => {
    machine.program('resolvconf', RECORDING);
    writeFileSync(join(machine.root, 'etc', 'interface-order'), '# the first that counts\nlo.inet*\nlo*\ntun*\n');
    expect(set('wg0', OFFICE, 'resolvconf')).toEqual({ way: 'resolvconf', notices: [] });
    expect(machine.dns().tunnels()).toEqual(['wg0']);
    rmSync(join(machine.root, 'etc', 'interface-order'));
    expect(unset('wg0').outcome).toBe('restored');
    expect(machine.calls()).toEqual([
      'resolvconf -a lo.wg0 -m 0 -x',
      '< nameserver 10.0.0.53',
      '< nameserver fd00::53',
      '< search corp.example',
      'resolvconf -d lo.wg0 -f',
    ]);
    expect(machine.leftovers()).toEqual([]);
  });

  it('has systemd-resolved told of the link', () => {
    machine.program('resolvectl', RECORDING);
    set('lo', OFFICE, 'resolved');
    set('lo', LAB, 'resolved');
    unset('lo');
    expect(machine.calls()).toEqual([
      'resolvectl dns lo 10.0.0.53 fd00::53',
      'resolvectl domain lo ~. corp.example',
      'resolvectl dns lo 10.9.0.1',
      'resolvectl domain lo ~.',
      'resolvectl revert lo',
    ]);
  });

  it('tells systemd-resolved nothing of a link that is gone', () => {
    machine.program('resolvectl', RECORDING);
    set('gone0', OFFICE, 'resolved');
    expect(unset('gone0').outcome).toBe('restored');
    expect(machine.calls()).toHaveLength(2);
    expect(machine.leftovers()).toEqual([]);
  });

  it('finds behind systemd-resolved whom the machine asked before', () => {
    machine.program('resolvectl', RECORDING);
    writeFileSync(machine.resolvConf, 'nameserver 127.0.0.53\n');
    const behind = join(machine.root, 'elsewhere', 'behind-stub');
    writeFileSync(behind, 'nameserver 192.0.2.1\n');
    set('lo', OFFICE, 'resolved');
    writeFileSync(behind, 'nameserver 192.0.2.1\nnameserver 10.0.0.53\n');
    set('wg1', LAB, 'resolved');
    unset('lo');
    expect(machine.dns().nameserversBefore().servers).toEqual(['192.0.2.1']);
  });

  it('says what failed, with what it printed, and takes it back', () => {
    machine.program('resolvconf', `${RECORDING}\ncase $1 in -a) echo 'no room'; echo 'at all' >&2; exit 3 ;; esac`);
    expect(() => set('wg0', LAB, 'resolvconf')).toThrow(
      expect.objectContaining({
        code: 'program_failed',
        message: 'Cannot run resolvconf -a wg0 -m 0 -x: it ended with 3: no room\nat all',
      }),
    );
    expect(machine.calls().at(-1)).toBe('resolvconf -d wg0 -f');
    expect(machine.leftovers()).toEqual([]);
  });

  it('does not wait for ever', () => {
    machine.program('resolvconf', 'case $1 in -a) echo begun; exec sleep 1000 ;; esac');
    expect(() => set('wg0', LAB, 'resolvconf')).toThrow(
      'Cannot run resolvconf -a wg0 -m 0 -x: not done in 2000 ms: begun',
    );
    expect(machine.leftovers()).toEqual([]);
  });

  it('does not wait for a service that a program has started', () => {
    machine.program('resolvconf', 'sleep 30 & echo $! >>"$calls"');
    set('wg0', LAB, 'resolvconf');
    unset('wg0');
    const services = machine.calls().map(Number);
    expect(services).toHaveLength(2);
    // each is there still
    for (const pid of services) process.kill(pid);
  });

  it('keeps in the journal what cannot be undone yet', () => {
    machine.program('resolvconf', 'case $1 in -d) exit 1 ;; esac');
    set('wg0', LAB, 'resolvconf');
    expect(() => unset('wg0')).toThrow('Cannot run resolvconf -d wg0 -f: it ended with 1');
    machine.program('resolvconf', 'true');
    expect(unset('wg0').outcome).toBe('restored');
  });

  it('doubts a program that leaves others to be asked', () => {
    machine.program('resolvconf', 'true');
    writeFileSync(machine.resolvConf, 'nameserver 192.0.2.1\n');
    expect(set('wg0', LAB, 'resolvconf').notices).toEqual([expect.stringContaining('192.0.2.1')]);
  });

  it('goes from one way to another', () => {
    machine.program('resolvconf', RECORDING);
    set('wg0', LAB, 'file');
    set('wg0', LAB, 'resolvconf');
    expect(text()).toBe('nameserver 127.0.0.1\n');
    set('wg0', LAB, 'file');
    expect(machine.calls().at(-1)).toBe('resolvconf -d wg0 -f');
    expect(set('wg0', LAB, 'off').way).toBe('off');
    expect(text()).toBe('nameserver 127.0.0.1\n');
    expect(machine.leftovers()).toEqual([]);
  });

  it('is told that there is no such program', () => {
    expect(() => set('wg0', LAB, 'resolved')).toThrow(
      'Cannot run resolvectl dns wg0 10.9.0.1: there is no resolvectl in',
    );
    expect(machine.leftovers()).toEqual([]);
  });
});

it('leaves the target of a link alone', () => {
  const target = join(machine.root, 'elsewhere', 'target');
  writeFileSync(target, BEFORE);
  symlinkSync('../elsewhere/target', machine.resolvConf);
  set('wg0', OFFICE);
  writeFileSync(target, 'nameserver 192.0.2.3\n');
  expect(unset('wg0').outcome).toBe('restored');
  expect(readlinkSync(machine.resolvConf)).toBe('../elsewhere/target');
  expect(text()).toBe('nameserver 192.0.2.3\n');
});
