import type { Vpn } from '../../lab/vpn.ts';
import { processOf } from '../../src/linux/process.ts';
import { lineOf } from './command-line.ts';
import type { TunnelClient } from './tunnel-client.ts';

/**
 * What others have on the client's machine, each of it as much like a tunnel's as it can be: another tunnel that everything
 * goes through, whose client lives; and of a program that is none of ours a link, routes, tables, and rules as wg-quick(8)
 * has them. None of it leads anywhere that a test asks for.
 */
export async function layNeighbours(vpn: Vpn, client: TunnelClient): Promise<void> {
  vpn.client.namespace.ip(
    'link add br9 type bridge',
    'link set br9 alias "culvert tunnel of nobody" up',
    'address add 10.77.0.1/24 dev br9',
    'route add 10.78.0.0/16 dev br9 table 77',
    'route add 10.79.0.0/16 dev br9 protocol 203',
  );
  // somebody alive is about to name a link of a tunnel
  const { pid, startTicks = 0 } = processOf(process.pid) ?? { pid: 0 };
  vpn.client.namespace.ip(
    'link add cv00c0ffee0001 type bridge',
    `link set cv00c0ffee0001 alias "culvert tunnel 1 pid ${pid} start ${startTicks} fwmark 0"`,
    'link add cv00c0ffee0002 type bridge',
  );
  const rules = [
    'rule add not fwmark 77 table 77 priority 30001',
    'rule add table main suppress_prefixlength 0 priority 30000',
  ];
  vpn.client.namespace.ip(...rules);
  vpn.client.namespace.feed(rules.join('\n'), 'ip', '-6', '-batch', '-');
  vpn.client.namespace.feed(
    `
    table inet culvert_kill_vpn2 { comment "of nobody"; chain output { type filter hook output priority 0; policy accept; }; }
    table ip wg-quick-vpn2 { chain postmangle { type filter hook postrouting priority -150; policy accept; }; }
    `,
    'nft',
    '-f',
    '-',
  );
  const key = vpn.client.run('wg', 'genkey').trim();
  const text = `
    [Interface]
    PrivateKey = ${key}
    Address = 10.66.0.2/32
    DNS = 10.66.0.1
    [Peer]
    PublicKey = ${vpn.serverPublicKey}
    Endpoint = 203.0.113.1:9999
    AllowedIPs = 0.0.0.0/0
    `;
  const other = client.spawn([], client.file(text, 'other'), '--timeout', '0');
  await lineOf(other, /is connected/);
}
