import { join } from 'node:path';
import { parseIp } from '../../src/addr/ip.ts';
import { MachineDns } from '../../src/tunnel/dns/machine-dns.ts';
import { DnsMachine } from '../../src/tunnel/dns/testing/machine.ts';
import type { WantedDns } from '../../src/tunnel/dns/wanted.ts';
import type { DnsChoice } from '../../src/tunnel/dns/way.ts';
import { AlteredSysctls } from '../../src/tunnel/journal/altered-sysctls.ts';
import { beTraced } from './be-traced.ts';

/*
 * A client that changes a machine's name servers, or a setting, in a process of its own, so that the process can be
 * killed: `dns-process.ts ROOT COMMAND TUNNEL [WAY]`.
 */

/** What each tunnel wants, by the number in its name. */
export function wantOf(tunnel: string): WantedDns {
  return { servers: [parseIp(`10.${tunnel.slice(2)}.0.53`)], search: [`${tunnel}.example`] };
}

export const MARK = 'net/ipv4/conf/all/src_valid_mark';

/** How often a client comes and goes that does so again and again. */
const TIMES = 15;

if (import.meta.main) {
  const [root = '', command = '', tunnel = '', way = 'file'] = process.argv.slice(2);
  if (command === 'own') {
    // as the machine has it, but for the journals
    const dns = new MachineDns({ folder: join(root, 'run'), bootId: 'boot', path: join(root, 'bin') });
    process.stdout.write(`${dns.set(tunnel, tunnel, wantOf(tunnel), way as DnsChoice).way}\n`);
  } else {
    const dns = new DnsMachine(root).dns();
    const sysctls = new AlteredSysctls(join(root, 'run'), 'boot');
    const set = (): unknown => dns.set(tunnel, tunnel, wantOf(tunnel), way as DnsChoice);
    beTraced({ allThreads: false });
    if (command === 'set') set();
    else if (command === 'unset') dns.unset(tunnel);
    else if (command === 'want') sysctls.want(tunnel, MARK, '1');
    else if (command === 'release') sysctls.release(tunnel);
    else if (command === 'churn') {
      for (let time = 0; time < TIMES; time++) {
        set();
        dns.unset(tunnel);
      }
    } else throw new Error(`Unknown command ${command}`);
  }
}
