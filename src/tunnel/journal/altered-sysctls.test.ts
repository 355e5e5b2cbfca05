import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createNamespace, NamespaceHandle, removeNamespace } from '../../linux/namespace.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';
import { AlteredSysctls } from './altered-sysctls.ts';
import { namespaceIdentity } from './namespace-identity.ts';

const MARK = 'net/ipv4/conf/all/src_valid_mark';

let folder: string;
let inside: NamespaceHandle;
const pins: string[] = [];

function newNamespace(): NamespaceHandle {
  const pin = join(folder, `pin-${pins.length}`);
  pins.push(pin);
  createNamespace(pin, () => undefined);
  return new NamespaceHandle(pin);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-sysctls-'));
  inside = newNamespace();
});
afterEach(() => {
  inside[Symbol.dispose]();
  for (const pin of pins.splice(0)) removeNamespace(pin);
  rmSync(folder, { recursive: true, force: true });
});

const sysctls = (bootId = 'boot'): AlteredSysctls => new AlteredSysctls(join(folder, 'run'), bootId);
const value = (): string => readSysctl(MARK);
const journals = (): string[] => readdirSync(join(folder, 'run')).filter((name) => name !== 'turn');

it('puts back a setting when the last tunnel that wanted it goes', () => {
  inside.run(() => {
    sysctls().want('wg0', MARK, '1');
    sysctls().want('wg1', MARK, '1');
    sysctls().want('wg1', MARK, '1');
    expect(sysctls().tunnels()).toEqual(['wg0', 'wg1']);
    expect(sysctls().release('wg0')).toEqual([]);
    expect(sysctls().release('wg0')).toEqual([]);
    expect(value()).toBe('1');
    expect(sysctls().release('wg1')).toEqual([]);
    expect(value()).toBe('0');
    expect(sysctls().release('wg1')).toEqual([]);
  });
  expect(journals()).toEqual([]);
});

it('keeps nothing of a setting that was so before', () => {
  inside.run(() => {
    writeSysctl(MARK, '1');
    sysctls().want('wg0', MARK, '1');
    expect(journals()).toEqual([]);
    sysctls().release('wg0');
    expect(value()).toBe('1');
  });
});

it('leaves what somebody else has set meanwhile', () => {
  const name = 'net/ipv4/conf/all/rp_filter';
  inside.run(() => {
    const before = readSysctl(name);
    sysctls().want('wg0', name, '2');
    const other = before === '1' ? '0' : '1';
    writeSysctl(name, other);
    const foreign = before === other ? [] : [{ name, wanted: '2', found: other }];
    expect(sysctls().release('wg0')).toEqual(foreign);
    expect(readSysctl(name)).toBe(other);
  });
  expect(journals()).toEqual([]);
});

it('lets one tunnel change what it wants, and two not want different values', () => {
  const name = 'net/ipv4/conf/all/rp_filter';
  inside.run(() => {
    writeSysctl(name, '0');
    sysctls().want('wg0', name, '1');
    sysctls().want('wg0', name, '2');
    expect(() => sysctls().want('wg1', name, '1')).toThrow(
      expect.objectContaining({ code: 'sysctl_conflict', message: expect.stringContaining('wg0') as string }),
    );
    sysctls().want('wg0', name, '0');
    expect(readSysctl(name)).toBe('0');
  });
  expect(journals()).toEqual([]);
});

it('tells namespaces apart', () => {
  using other = newNamespace();
  inside.run(() => sysctls().want('wg0', MARK, '1'));
  other.run(() => {
    expect(sysctls().tunnels()).toEqual([]);
    sysctls().want('wg0', MARK, '1');
    sysctls().release('wg0');
    expect(value()).toBe('0');
  });
  inside.run(() => {
    expect(value()).toBe('1');
    sysctls().release('wg0');
    expect(value()).toBe('0');
  });
});

it('has nothing from a namespace that is gone, though another has got its inode', () => {
  inside.run(() => sysctls().want('wg0', MARK, '1'));
  const [former = ''] = journals();
  using other = newNamespace();
  other.run(() => {
    const { inode, cookie } = namespaceIdentity();
    expect(cookie).toMatch(/^[0-9a-f]+$/);
    renameSync(join(folder, 'run', former), join(folder, 'run', `sysctls.${inode}.json`));
    writeSysctl(MARK, '1');
    sysctls().release('wg0');
    expect(value()).toBe('1');
  });
});

it('has nothing from an earlier boot', () => {
  inside.run(() => {
    sysctls('first boot').want('wg0', MARK, '1');
    sysctls('second boot').release('wg0');
    expect(value()).toBe('1');
    writeSysctl(MARK, '0');
    sysctls('second boot').want('wg1', MARK, '1');
    expect(sysctls('second boot').tunnels()).toEqual(['wg1']);
    sysctls('second boot').release('wg1');
    expect(value()).toBe('0');
  });
  expect(journals()).toEqual([]);
});

it('keeps nothing of what is refused', () => {
  inside.run(() => {
    expect(() => sysctls().want('wg0', 'net/ipv4/conf/all/rp_filter', 'seven')).toThrow(
      expect.objectContaining({ code: 'sysctl_refused' }),
    );
    expect(() => sysctls().want('wg0', 'net/ipv4/nothing', '1')).toThrow(
      expect.objectContaining({ code: 'sysctl_refused' }),
    );
  });
  expect(journals()).toEqual([]);
});

it('does not go on from a journal that cannot be read', () => {
  inside.run(() => {
    sysctls().want('wg0', MARK, '1');
    const [journal = ''] = journals();
    const text = readFileSync(join(folder, 'run', journal), 'utf8');
    writeFileSync(join(folder, 'run', journal), text.slice(0, -5));
    expect(() => sysctls().release('wg0')).toThrow(expect.objectContaining({ code: 'journal_unreadable' }));
    expect(value()).toBe('1');
  });
});
