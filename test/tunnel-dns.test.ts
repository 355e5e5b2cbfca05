import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DnsMachine } from '../src/tunnel/dns/testing/machine.ts';
import { readFileState } from '../src/tunnel/journal/file-state.ts';
import { wantOf } from './support/dns-process.ts';
import { hasOpenresolv, installOpenresolv } from './support/openresolv.ts';

const PROCESS = join(import.meta.dirname, 'support', 'dns-process.ts');
const BEFORE = 'search home.example\nnameserver 192.0.2.1';

let machine: DnsMachine;
beforeEach(() => {
  machine = new DnsMachine();
});
afterEach(() => machine[Symbol.dispose]());

it.each(['a file', 'a mount'])('comes out as it was where %s is changed by many clients at once', async (kind) => {
  if (kind === 'a mount') machine.mountFile(BEFORE);
  else writeFileSync(machine.resolvConf, BEFORE);
  const before = readFileState(machine.resolvConf);
  const clients = ['wg1', 'wg2', 'wg3', 'wg4'].map((tunnel) =>
    spawn(process.execPath, [PROCESS, machine.root, 'churn', tunnel], { stdio: ['ignore', 'ignore', 'inherit'] }),
  );
  const ends = await Promise.all(clients.map((client) => once(client, 'exit')));
  expect(ends.map(([status]) => status as number)).toEqual([0, 0, 0, 0]);
  expect(readFileState(machine.resolvConf)).toEqual(before);
  expect(machine.leftovers()).toEqual([]);
});

/** Runs a script where /etc is a folder of the test's, whatever goes wrong; its `"$@"` is a client. */
function inOwnEtc(script: string, own = ''): string {
  const client = [process.execPath, PROCESS, machine.root, 'own', 'wg1', 'auto'];
  const whole = 'mount --bind "$1" /etc; shift; own=$1; shift; ' + script;
  const parameters = [join(machine.root, 'etc'), own, ...client];
  const wrapped = ['--mount', '--propagation', 'private', 'sh', '-ec', whole, 'sh', ...parameters];
  return execFileSync('unshare', wrapped, { encoding: 'utf8', stdio: 'pipe' });
}

it('writes the resolv.conf of a mount namespace, and no other', () => {
  writeFileSync(machine.resolvConf, 'nameserver 192.0.2.7\n');
  const own = join(machine.root, 'own');
  writeFileSync(own, BEFORE);
  const { ino } = statSync(own);
  // a program that is there is not in charge of what is mounted
  machine.program('resolvconf', 'exit 1');
  // as ip-netns(8) runs what is run in a namespace that has a resolv.conf of its own
  expect(inOwnEtc('mount --bind "$own" /etc/resolv.conf; unshare --net "$@"', own)).toBe('file\n');
  expect(readFileSync(own, 'utf8')).toContain('nameserver 10.1.0.53\nsearch wg1.example\n');
  expect(statSync(own).ino).toBe(ino);
  expect(readFileSync(machine.resolvConf, 'utf8')).toBe('nameserver 192.0.2.7\n');
});

it('refuses to write the machine’s for a tunnel in another network', () => {
  writeFileSync(machine.resolvConf, BEFORE);
  // the shell, which the client descends from, stays in the network of the machine
  expect(() => inOwnEtc('unshare --net "$@"; true')).toThrow('dns_of_others');
  expect(readFileSync(machine.resolvConf, 'utf8')).toBe(BEFORE);
  expect(machine.leftovers()).toEqual([]);
});

it.runIf(hasOpenresolv)('has openresolv set name servers, and bring back what was there byte for byte', () => {
  writeFileSync(machine.resolvConf, BEFORE, { mode: 0o640 });
  installOpenresolv(machine);
  const before = readFileState(machine.resolvConf);
  const dns = machine.dns();
  const asked = (): string[] => readFileSync(machine.resolvConf, 'utf8').match(/^(nameserver|search) .*/gm) ?? [];
  expect(dns.set('wg1', 'wg1', wantOf('wg1'), 'resolvconf')).toEqual({ way: 'resolvconf', notices: [] });
  expect(asked()).toEqual(['search wg1.example', 'nameserver 10.1.0.53']);
  dns.set('wg2', 'wg2', wantOf('wg2'), 'resolvconf');
  expect(asked()).toEqual(['search wg2.example', 'nameserver 10.2.0.53']);
  expect(dns.nameserversBefore()).toEqual({ servers: ['192.0.2.1'], search: ['home.example'] });
  dns.unset('wg1');
  expect(asked()).toEqual(['search wg2.example', 'nameserver 10.2.0.53']);
  dns.unset('wg2');
  expect(readFileState(machine.resolvConf)).toEqual(before);
});
