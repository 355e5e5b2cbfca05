import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { parseIp } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { close, connect, recvNow, send } from '../../linux/syscall.ts';
import { bringTo, removeFirewall } from './keeper.ts';
import { openDatagrams, socketAddressOf, transmit } from './testing/packets.ts';
import { type WayOptions, wayTable } from './way.ts';

/*
 *   far                     host                              outside
 *   ┌───────────────┐   ┌─────────────────────────────┐   ┌─────────────────────┐
 *   │ t0 10.8.0.1   │───│ t0 10.8.0.2      192.0.2.1  │───│ wire 192.0.2.7      │
 *   │    fd08::1    │   │    fd08::2  2001:db8::1     │   │      2001:db8::7    │
 *   └───────────────┘   │ all but what is marked goes │   │ lo 198.51.100.7, the│
 *                       │ by t0, as in a full tunnel  │   │    tunnel's endpoint│
 *                       └─────────────────────────────┘   └─────────────────────┘
 */

const MARK = 51_820;
/** Only for what hangs. */
const WAIT = { timeout: 20_000 };
const ENDPOINT = '198.51.100.7';
const OPTIONS: WayOptions = { name: 't0', mark: MARK, addresses: ['10.8.0.2', 'fd08::2'].map(parseIp) };

let host: LabNamespace;
let outside: LabNamespace;
let far: LabNamespace;
let netfilter: NetlinkSocket;

beforeAll(async () => {
  const made = Array.from({ length: 3 }, async () => LabNamespace.make());
  [host, outside, far] = (await Promise.all(made)) as [LabNamespace, LabNamespace, LabNamespace];
  outside.ip(
    `link add wire type veth peer name wire netns ${host.pid}`,
    'address add 192.0.2.7/24 dev wire',
    'address add 2001:db8::7/64 dev wire nodad',
    `address add ${ENDPOINT}/32 dev lo`,
    'link set wire up',
  );
  far.ip(
    `link add t0 type veth peer name t0 netns ${host.pid}`,
    'address add 10.8.0.1/24 dev t0',
    'address add fd08::1/64 dev t0 nodad',
    'link set t0 up',
  );
  host.ip(
    'address add 192.0.2.1/24 dev wire',
    'address add 2001:db8::1/64 dev wire nodad',
    'address add 10.8.0.2/24 dev t0',
    'address add fd08::2/64 dev t0 nodad',
    'link set wire up',
    'link set t0 up',
    'route add default via 192.0.2.7',
    `route add default dev t0 table ${MARK}`,
    `rule add not fwmark ${MARK} table ${MARK}`,
    'rule add table main suppress_prefixlength 0',
  );
  outside.ip('route add 10.8.0.0/24 via 192.0.2.1', 'route add fd08::/64 via 2001:db8::1');
  const settings = ['all/rp_filter', 'wire/rp_filter', 'all/src_valid_mark'];
  for (const name of settings) host.run('sh', '-c', `echo 1 > /proc/sys/net/ipv4/conf/${name}`);
  host.feed(
    `table inet witness {
      chain input {
        type filter hook input priority 0
        udp dport 9 counter
        udp dport 10 counter
      }
    }`,
    'nft',
    '-f',
    '-',
  );
  netfilter = host.netfilter();
});

beforeEach(() => {
  removeFirewall(netfilter, 'way', 't0');
});

afterAll(async () => {
  netfilter[Symbol.dispose]();
  await Promise.all([host, outside, far].map(async (namespace) => namespace.close()));
});

/** How many datagrams to a port the host has taken for its own. */
function taken(to: 9 | 10): number {
  const text = host.run('nft', 'list', 'chain', 'inet', 'witness', 'input');
  return Number(new RegExp(`dport ${to} counter packets (\\d+) `).exec(text)?.[1]);
}

/** An address of the host that is not guarded, and that a namespace reaches by the same link. */
function openAddress(from: LabNamespace, guarded: string): string {
  const isIpv6 = guarded.includes(':');
  if (from === outside) return isIpv6 ? '2001:db8::1' : '192.0.2.1';
  return guarded;
}

describe('the tunnel’s addresses', () => {
  it.each(['10.8.0.2', 'fd08::2'])('of which %s is one are reached by the tunnel and by the host alone', async (to) => {
    const arrives = async (from: LabNamespace): Promise<boolean> => {
      const [before, behind] = [taken(9), taken(10)];
      expect(transmit(from, { kind: 'udp', to, port: 9 })).toBe('sent');
      expect(transmit(from, { kind: 'udp', to: openAddress(from, to), port: 10 })).toBe('sent');
      await expect.poll(() => taken(10), WAIT).toBe(behind + 1);
      return taken(9) === before + 1;
    };
    for (const from of [outside, far, host]) expect(await arrives(from)).toBe(true);
    bringTo(netfilter, wayTable(OPTIONS));
    expect(await arrives(outside)).toBe(false);
    for (const from of [far, host]) expect(await arrives(from)).toBe(true);
  });
});

describe('an answer to encrypted packets', () => {
  /** Whether the host hears what answers it, with reverse paths looked for strictly. */
  async function hears(): Promise<boolean> {
    const own = openDatagrams(host, '0.0.0.0', MARK, MARK);
    const theirs = openDatagrams(outside, ENDPOINT, MARK);
    const control = openDatagrams(host, '0.0.0.0', 9);
    try {
      connect(own, socketAddressOf(parseIp(ENDPOINT), MARK), 'connect');
      send(own, Uint8Array.of(1));
      const buffer = new Uint8Array(64);
      await expect.poll(() => recvNow(theirs, buffer, 0), WAIT).toBe(1);
      connect(theirs, socketAddressOf(parseIp('192.0.2.1'), MARK), 'connect');
      send(theirs, Uint8Array.of(2));
      // behind it, from an address of the link itself, whose way back is by the link whatever the mark
      transmit(outside, { kind: 'udp', to: '192.0.2.1', port: 9 });
      await expect.poll(() => recvNow(control, buffer, 0), WAIT).toBe(1);
      return recvNow(own, buffer, 0) === 1;
    } finally {
      for (const fd of [own, theirs, control]) close(fd);
    }
  }

  it('is let in where its flow keeps the mark', async () => {
    expect(await hears()).toBe(false);
    bringTo(netfilter, wayTable(OPTIONS));
    expect(await hears()).toBe(true);
  });
});

describe('a TCP connection that the host forwards', () => {
  it('opens with segments that the tunnel takes, both ways', async () => {
    const listen = "require('net').createServer(() => {}).listen(9, () => console.log('listening'))";
    const server = far.start(process.execPath, '-e', listen);
    const dial = "require('net').connect(9, '10.8.0.1', () => console.log('connected'))";
    host.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    host.ip('link set t0 mtu 1300');
    far.ip('route replace 192.0.2.0/24 via 10.8.0.2');
    bringTo(netfilter, wayTable(OPTIONS));
    try {
      await once(server.stdout ?? server, 'data');
      const client = outside.start(process.execPath, '-e', dial);
      try {
        await once(client.stdout ?? client, 'data');
        const sizes = [far, outside].map((side) => / mss:(\d+)/.exec(side.run('ss', '-tinH'))?.[1]);
        // less the headers, with time stamps in the latter
        expect(sizes).toEqual(['1248', '1248']);
      } finally {
        client.kill('SIGKILL');
      }
    } finally {
      server.kill('SIGKILL');
      host.ip('link set t0 mtu 1500');
    }
  });
});

describe('a mark that others have given a packet', () => {
  it('stays, but for what answers encrypted packets', async () => {
    // before the tunnel's, which come at -150
    host.feed(
      `table inet others {
        chain first { type filter hook prerouting priority -200; udp dport 9 meta mark set 0x77; }
        chain last { type filter hook input priority 0; udp dport 9 meta mark 0x77 counter; udp dport 9 counter; }
      }`,
      'nft',
      '-f',
      '-',
    );
    try {
      const counts = (): string[] =>
        [...host.run('nft', 'list', 'chain', 'inet', 'others', 'last').matchAll(/counter packets (\d+) /g)].map(
          ([, count = '']) => count,
        );
      bringTo(netfilter, wayTable(OPTIONS));
      transmit(outside, { kind: 'udp', to: '192.0.2.1', port: 9 });
      await expect.poll(() => counts()[1], WAIT).toBe('1');
      expect(counts()).toEqual(['1', '1']);
    } finally {
      host.run('nft', 'delete', 'table', 'inet', 'others');
    }
  });
});
