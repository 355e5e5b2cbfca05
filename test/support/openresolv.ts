import { cpSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DnsMachine } from '../../src/tunnel/dns/testing/machine.ts';

/** Where Debian's package was unpacked, see tools/with-setup; releases differ in whether /lib is below /usr. */
const [PROGRAM] = globSync('.cache/unpacked/{sbin,usr/sbin}/resolvconf');
const [LIBC] = globSync('.cache/unpacked/{lib,usr/lib}/resolvconf/libc');

export const hasOpenresolv = PROGRAM !== undefined && LIBC !== undefined;

/** Gives a machine the real openresolv, of which everything is in the machine's folders, and which restarts no service. */
export function installOpenresolv(machine: DnsMachine): void {
  if (PROGRAM === undefined || LIBC === undefined) throw new Error('openresolv is not unpacked');
  const { root } = machine;
  const program = join(root, 'bin', 'resolvconf');
  const subscribers = join(root, 'bin', 'subscribers');
  mkdirSync(subscribers);
  for (const [from, to] of [
    [PROGRAM, program],
    [LIBC, join(subscribers, 'libc')],
  ] as const) {
    cpSync(from, to);
    const text = readFileSync(to, 'utf8')
      .replaceAll(/^SYSCONFDIR=.*/gm, `SYSCONFDIR=${join(root, 'etc-resolvconf')}`)
      .replaceAll(/^LIBEXECDIR=.*/gm, `LIBEXECDIR=${subscribers}`)
      .replaceAll(/^VARDIR=.*/gm, `VARDIR=${join(root, 'var')}`)
      .replaceAll('/sbin/resolvconf', program);
    if (text.includes('/run/resolvconf')) throw new Error(`${from} is not as it is known`);
    writeFileSync(to, text);
  }
  if (!existsSync(join(root, 'etc-resolvconf'))) mkdirSync(join(root, 'etc-resolvconf'));
  const settings = [`resolv_conf=${machine.resolvConf}`, 'libc_restart=:'];
  writeFileSync(join(root, 'etc-resolvconf', 'resolvconf.conf'), `${settings.join('\n')}\n`);
}
