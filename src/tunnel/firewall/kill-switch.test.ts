import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LineProcess } from '../../../lab/line-process.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { parseIp } from '../../addr/ip.ts';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { newTable } from '../../linux/nftables/table.ts';
import { bringTo, difference, removeFirewall } from './keeper.ts';
import { type KillSwitchOptions, killSwitchTable } from './kill-switch.ts';
import { type Packet, packetText, readPacket, transmit } from './testing/packets.ts';

/*
 *   guest             host                         outside
 *   ┌──────────┐   ┌──────────────────────────┐   ┌──────────────────────────┐
 *   │ 10.7.0.2 │───│ g0 10.7.0.1    192.0.2.1 │───│ 192.0.2.7, the way to    │
 *   │ fd07::2  │   │    fd07::1          wire │   │ everywhere. What comes   │
 *   └──────────┘   │               2001:db8::1│   │ here has left the host   │
 *                  │ t0 10.9.0.1              │   └──────────────────────────┘
 *                  └──┬───────────────────────┘
 *                     │ stands in for the tunnel's link
 *                  ┌──┴───────┐
 *                  │ 10.9.0.2 │ far
 *                  └──────────┘
 */

const MARK = 51_820;

const OPTIONS: KillSwitchOptions = {
  name: 't0',
  mark: MARK,
  endpoints: [
    { address: parseIp('198.51.100.7'), port: 51_820 },
    { address: parseIp('2001:db8:7::7'), port: 51_820 },
  ],
  resolvers: [parseIp('198.51.100.53'), parseIp('2001:db8:7::53')],
  allow: [parseIpPrefix('203.0.113.0/24'), parseIpPrefix('2001:db8:a::/48')],
};

let guest: LabNamespace;
let host: LabNamespace;
let outside: LabNamespace;
let far: LabNamespace;
let netfilter: NetlinkSocket;
let onWire: RawLink;
let onTunnel: RawLink;

beforeAll(async () => {
  const made = Array.from({ length: 4 }, async () => LabNamespace.make());
  [guest, host, outside, far] = (await Promise.all(made)) as [LabNamespace, LabNamespace, LabNamespace, LabNamespace];
  outside.ip(`link add wire index 77 type veth peer name wire netns ${host.pid}`);
  far.ip(`link add t0 index 77 type veth peer name t0 netns ${host.pid}`);
  guest.ip(`link add g0 type veth peer name g0 netns ${host.pid}`);
  addresses(host, 'wire', '192.0.2.1/24', '2001:db8::1/64');
  addresses(host, 't0', '10.9.0.1/24', 'fd09::1/64');
  addresses(host, 'g0', '10.7.0.1/24', 'fd07::1/64');
  addresses(outside, 'wire', '192.0.2.7/24', '2001:db8::7/64');
  addresses(far, 't0', '10.9.0.2/24', 'fd09::2/64');
  addresses(guest, 'g0', '10.7.0.2/24', 'fd07::2/64');
  host.ip('route add default via 192.0.2.7', 'route add default via 2001:db8::7');
  guest.ip('route add default via 10.7.0.1', 'route add default via fd07::1');
  far.ip('route add default via 10.9.0.1', 'route add default via fd09::1');
  for (const name of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    host.run('sh', '-c', `echo 1 > /proc/sys/net/${name}`);
  }
  netfilter = host.netfilter();
  onWire = new RawLink(outside, 77);
  onTunnel = new RawLink(far, 77);
});

beforeEach(() => {
  removeFirewall(netfilter, 'kill switch', 't0');
});

afterAll(async () => {
  for (const one of [netfilter, onWire, onTunnel]) one[Symbol.dispose]();
  await Promise.all([guest, host, outside, far].map(async (namespace) => namespace.close()));
});

function addresses(namespace: LabNamespace, link: string, ...prefixes: string[]): void {
  namespace.ip(
    ...prefixes.map((prefix) => `address add ${prefix} dev ${link}${prefix.includes(':') ? ' nodad' : ''}`),
    `link set ${link} up`,
  );
}

/** Neighbour discovery and multicast listeners, of which the host's own kernel sends too; what it does is no program's. */
const OWN = /^icmpv6 (?:13[3-6]|143) /;

/** What leaves by a link while `body` sends, and nothing that does not: two packets that pass are before and behind it. */
async function all(link: RawLink, from: LabNamespace, to: string, body: () => unknown): Promise<string[]> {
  const end = async (): Promise<string[]> => {
    // a port that was not seen before
    const packet: Packet = { kind: 'udp', to, port: port++ };
    expect(transmit(from, packet)).toBe('sent');
    const texts = await link.untilRead(readPacket, (text) => text === packetText(packet));
    return texts.slice(0, -1);
  };
  await end();
  await body();
  return end();
}

/** Each once, and not what the kernel sends by itself. */
async function seen(...parameters: Parameters<typeof all>): Promise<string[]> {
  const texts = await all(...parameters);
  return [...new Set(texts)].filter((text) => !OWN.test(text)).toSorted();
}

let port = 20_000;

/** @param from who sends, so that all of it goes one way */
function onWireSeen(body: () => unknown, from = host): Promise<string[]> {
  return seen(onWire, from, '203.0.113.99', body);
}

function onTunnelSeen(body: () => unknown): Promise<string[]> {
  return seen(onTunnel, host, '10.9.0.2', body);
}

const PASSING: readonly Packet[] = [
  { kind: 'udp', to: '198.51.100.7', port: 51_820, mark: MARK },
  { kind: 'udp', to: '2001:db8:7::7', port: 51_820, mark: MARK },
  { kind: 'udp', to: '198.51.100.53', port: 53, mark: MARK },
  { kind: 'tcp', to: '198.51.100.53', port: 53, mark: MARK },
  { kind: 'udp', to: '2001:db8:7::53', port: 53, mark: MARK },
  { kind: 'tcp', to: '2001:db8:7::53', port: 53, mark: MARK },
  { kind: 'udp', to: '203.0.113.1', port: 7 },
  { kind: 'tcp', to: '203.0.113.2', port: 22 },
  { kind: 'tcp', to: '2001:db8:a::2', port: 22 },
  { kind: 'echo', to: '203.0.113.3' },
  { kind: 'echo', to: '2001:db8:a::3' },
  { kind: 'udp', to: '192.0.2.7', port: 67, fromPort: 68 },
  { kind: 'udp', to: '2001:db8::7', port: 547, fromPort: 546 },
];

const STOPPED: readonly Packet[] = [
  // to the endpoint, but not marked, or marked otherwise, or to another port or protocol
  { kind: 'udp', to: '198.51.100.7', port: 51_820 },
  { kind: 'udp', to: '2001:db8:7::7', port: 51_820 },
  { kind: 'udp', to: '198.51.100.7', port: 51_820, mark: MARK + 1 },
  { kind: 'udp', to: '198.51.100.7', port: 51_821, mark: MARK },
  { kind: 'tcp', to: '198.51.100.7', port: 51_820, mark: MARK },
  { kind: 'echo', to: '198.51.100.7', mark: MARK },
  // to a resolver, but not marked, or not for names
  { kind: 'udp', to: '198.51.100.53', port: 53 },
  { kind: 'tcp', to: '198.51.100.53', port: 53 },
  { kind: 'udp', to: '2001:db8:7::53', port: 53 },
  { kind: 'udp', to: '198.51.100.53', port: 123, mark: MARK },
  // to another resolver
  { kind: 'udp', to: '192.0.2.7', port: 53, mark: MARK },
  { kind: 'udp', to: '192.0.2.7', port: 53 },
  { kind: 'udp', to: '198.51.100.9', port: 443 },
  { kind: 'tcp', to: '198.51.100.9', port: 443 },
  { kind: 'echo', to: '198.51.100.9' },
  { kind: 'udp', to: '2001:db8:9::9', port: 443 },
  { kind: 'tcp', to: '2001:db8:9::9', port: 443 },
  { kind: 'echo', to: '2001:db8:9::9' },
  // the neighbours of the link, and all of them at once
  { kind: 'tcp', to: '192.0.2.7', port: 80 },
  { kind: 'echo', to: '192.0.2.7' },
  { kind: 'udp', to: '224.0.0.251', port: 5353 },
  { kind: 'udp', to: '192.0.2.255', port: 9 },
  // the ports of DHCP, from others
  { kind: 'udp', to: '192.0.2.7', port: 67 },
  { kind: 'udp', to: '192.0.2.7', port: 68, fromPort: 68 },
];

describe('a kill switch', () => {
  it('lets pass what it should and nothing else, all of which left before', async () => {
    const both = [...PASSING, ...STOPPED];
    const texts = (packets: readonly Packet[]): string[] => [...new Set(packets.map(packetText))].toSorted();
    const before = await onWireSeen(() => {
      for (const packet of both) transmit(host, packet);
    });
    expect(before.filter((text) => texts(both).includes(text))).toEqual(texts(both));

    bringTo(netfilter, killSwitchTable(OPTIONS));
    const results: string[] = [];
    // by itself, since some of what is stopped differs from what passes by its mark alone
    expect(
      await onWireSeen(() => {
        for (const packet of STOPPED) results.push(transmit(host, packet));
      }),
    ).toEqual([]);
    expect(
      await onWireSeen(() => {
        for (const packet of PASSING) transmit(host, packet);
      }),
    ).toEqual(texts(PASSING));
    // who sends a datagram is told at once; of TCP the first packet alone is stopped, see below
    expect(new Set(results.filter((_, index) => STOPPED[index]?.kind !== 'tcp'))).toEqual(new Set(['EPERM']));
  });

  it('lets all pass by the tunnel and by lo', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const packets: Packet[] = [
      { kind: 'udp', to: '10.9.0.2', port: 443 },
      { kind: 'tcp', to: '10.9.0.2', port: 443 },
      { kind: 'tcp', to: 'fd09::2', port: 443 },
      { kind: 'echo', to: 'fd09::2' },
    ];
    const texts = await onTunnelSeen(() => {
      for (const packet of packets) expect(transmit(host, packet)).toBe('sent');
    });
    expect(texts).toEqual(packets.map(packetText).toSorted());
    for (const address of ['127.0.0.1', '::1', '192.0.2.1', '10.9.0.1'])
      host.run('ping', '-c', '1', '-W', '5', address);
  });

  it('tells a program that opens a connection at once', () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const script = `
      const socket = require('node:net').connect({ host: process.argv[1], port: 443 });
      socket.setTimeout(60_000, () => { console.log('timeout'); process.exit(); });
      socket.on('error', ({ code }) => console.log(code));
    `;
    expect(host.run(process.execPath, '-e', script, '198.51.100.9')).toBe('EHOSTUNREACH\n');
    expect(host.run(process.execPath, '-e', script, '2001:db8:9::9')).toBe('EACCES\n');
  });

  it('keeps neighbours known, but is no way out for who makes such packets himself', async () => {
    const [to, forged] = ['2001:db8::7', '2001:db8:9::66'];
    const forge = (): void => {
      transmit(host, { kind: 'neighbour', to: forged, hops: 64 });
    };
    const forward = (): string => transmit(guest, { kind: 'neighbour', to: forged });
    const onWireAll = (from: LabNamespace, body: () => unknown): Promise<string[]> =>
      all(onWire, from, '203.0.113.99', body);
    guest.run('ping', '-c', '1', '-W', '5', 'fd07::1');
    for (const [from, send] of [[host, forge] as const, [guest, forward] as const]) {
      expect(await onWireAll(from, send)).toContain(`icmpv6 135 ${forged}`);
    }
    bringTo(netfilter, killSwitchTable(OPTIONS));
    for (const [from, send] of [[host, forge] as const, [guest, forward] as const]) {
      expect(await onWireAll(from, send)).not.toContain(`icmpv6 135 ${forged}`);
    }
    for (const family of ['-4', '-6']) host.run('ip', family, 'neighbour', 'flush', 'dev', 'wire');
    const packet: Packet = { kind: 'udp', to: '2001:db8:7::7', port: 51_820, mark: MARK };
    expect(transmit(host, packet)).toBe('sent');
    const texts = await onWire.untilRead(readPacket, (text) => text === packetText(packet));
    expect(texts.filter((text) => text.startsWith('icmpv6 135 '))).not.toEqual([]);
    expect(await onWireAll(host, () => transmit(host, { kind: 'neighbour', to }))).toContain(`icmpv6 135 ${to}`);
    // a new address is a new group that the host listens to
    host.ip('address add 2001:db8::99/64 dev wire nodad');
    await onWire.untilRead(readPacket, (text) => text === 'icmpv6 143 ff02::16');
    host.ip('address delete 2001:db8::99/64 dev wire');
  });

  it('stops what is forwarded, but for the tunnel and what is allowed', async () => {
    const open: Packet[] = [
      { kind: 'udp', to: '203.0.113.4', port: 7 },
      { kind: 'tcp', to: '2001:db8:a::4', port: 7 },
    ];
    const stopped: Packet[] = [
      { kind: 'udp', to: '198.51.100.9', port: 443 },
      { kind: 'tcp', to: '2001:db8:9::9', port: 443 },
      { kind: 'echo', to: '198.51.100.9' },
      { kind: 'udp', to: '198.51.100.53', port: 53 },
      // what a host may send on its own account alone
      { kind: 'udp', to: '198.51.100.67', port: 67, fromPort: 68 },
      { kind: 'udp', to: '198.51.100.7', port: 51_820 },
    ];
    // neighbours that were not known would change the order
    for (const gateway of ['10.7.0.1', 'fd07::1']) guest.run('ping', '-c', '1', '-W', '5', gateway);
    const send = (): void => {
      for (const packet of [...open, ...stopped]) transmit(guest, packet);
    };
    const before = await onWireSeen(send, guest);
    expect(before).toEqual([...open, ...stopped].map(packetText).toSorted());
    bringTo(netfilter, killSwitchTable(OPTIONS));
    expect(await onWireSeen(send, guest)).toEqual(open.map(packetText).toSorted());
    // by the tunnel, and its answers back
    guest.run('ping', '-c', '1', '-W', '5', '10.9.0.2');
    guest.run('ping', '-c', '1', '-W', '5', 'fd09::2');
    // of itself nobody in the tunnel reaches who is behind, nor the wire
    expect(() => far.run('ping', '-c', '1', '-W', '1', '10.7.0.2')).toThrow();
    expect(
      await onWireSeen(() => {
        transmit(far, { kind: 'udp', to: '198.51.100.9', port: 443 });
      }, far),
    ).toEqual([]);
  });

  it('goes by the link that a packet leaves by, though others have sent it another way', async () => {
    host.feed(
      `table inet others {
        chain out {
          type route hook output priority mangle
          udp dport 7777 meta mark set 0x77
          udp dport 7778 meta mark set 0x78
        }
        chain nat {
          type nat hook output priority -100
          ip daddr 203.0.113.50 udp dport 7779 dnat ip to 198.51.100.9
        }
      }`,
      'nft',
      '-f',
      '-',
    );
    host.ip(
      'rule add fwmark 0x77 table 77',
      'route add default via 192.0.2.7 dev wire table 77',
      'rule add fwmark 0x78 table 78',
      'route add default via 10.9.0.2 dev t0 table 78',
    );
    try {
      const out: Packet[] = [
        { kind: 'udp', to: '10.9.0.2', port: 7777 },
        { kind: 'udp', to: '203.0.113.50', port: 7779 },
      ];
      const send = (): void => {
        for (const packet of out) transmit(host, packet);
      };
      expect(await onWireSeen(send)).toEqual(['udp 7777 10.9.0.2', 'udp 7779 198.51.100.9']);
      bringTo(netfilter, killSwitchTable(OPTIONS));
      expect(await onWireSeen(send)).toEqual([]);
      const into: Packet = { kind: 'udp', to: '198.51.100.9', port: 7778 };
      expect(await onTunnelSeen(() => expect(transmit(host, into)).toBe('sent'))).toEqual([packetText(into)]);
    } finally {
      host.run('nft', 'delete', 'table', 'inet', 'others');
      host.ip('rule delete fwmark 0x77', 'rule delete fwmark 0x78');
    }
  });

  it('is stronger than an accept of others, and weaker than no drop of theirs', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    host.feed(
      `table inet others {
        chain first { type filter hook output priority -500; accept; }
        chain last { type filter hook postrouting priority 2000; ip daddr 203.0.113.1 drop; accept; }
      }`,
      'nft',
      '-f',
      '-',
    );
    try {
      const packets: Packet[] = [
        { kind: 'udp', to: '198.51.100.9', port: 443 },
        { kind: 'udp', to: '203.0.113.1', port: 7 },
      ];
      expect(
        await onWireSeen(() => {
          for (const packet of packets) expect(transmit(host, packet)).toBe('EPERM');
        }),
      ).toEqual([]);
    } finally {
      host.run('nft', 'delete', 'table', 'inet', 'others');
    }
  });

  it('outlives who made it, who dies on the spot, and the tunnel’s link', async () => {
    const script = `
      import { NetlinkSocket } from ${JSON.stringify(import.meta.resolve('../../linux/netlink/socket.ts'))};
      import { bringTo } from ${JSON.stringify(import.meta.resolve('./keeper.ts'))};
      import { killSwitchTable } from ${JSON.stringify(import.meta.resolve('./kill-switch.ts'))};
      const options = { name: 't0', mark: ${MARK}, endpoints: [], resolvers: [], allow: [{ address: 0xcb007100, length: 24 }] };
      bringTo(new NetlinkSocket(12), killSwitchTable(options));
      process.kill(process.pid, 'SIGKILL');
    `;
    expect(() => host.run(process.execPath, '--input-type=module-typescript', '-e', script)).toThrow();
    const allow = [parseIpPrefix('203.0.113.0/24')];
    expect(difference(netfilter, killSwitchTable({ ...OPTIONS, endpoints: [], resolvers: [], allow }))).toEqual([]);
    host.ip('link set t0 down');
    try {
      const packet: Packet = { kind: 'udp', to: '10.9.0.2', port: 443 };
      expect(await onWireSeen(() => expect(transmit(host, packet)).toBe('EPERM'))).toEqual([]);
    } finally {
      host.ip('link set t0 up');
    }
  });

  // the last here: what it began is sent again for long
  it('lets no answer of a connection of before leave', async () => {
    const flow =
      "require('node:net').createServer((socket) => socket.on('data', () => socket.write('answer'))).listen(7000, '192.0.2.1', () => console.log('listening')); setTimeout(() => {}, 1e9)";
    const client = `
      const socket = require('node:net').connect({ host: '192.0.2.1', port: 7000 });
      socket.on('data', () => console.log('heard'));
      require('node:readline').createInterface({ input: process.stdin }).on('line', () => socket.write('question'));
    `;
    using server = new LineProcess(host.path, process.execPath, ['-e', flow]);
    expect(await server.line()).toBe('listening');
    using asking = new LineProcess(outside.path, process.execPath, ['-e', client]);
    const isAnswer = (text: string): boolean => text.startsWith('tcp ');
    const before = await onWireSeen(async () => expect(await asking.ask('first')).toBe('heard'));
    expect(before.filter(isAnswer)).not.toEqual([]);
    bringTo(netfilter, killSwitchTable(OPTIONS));
    let heard: Promise<string> | undefined;
    const after = await onWireSeen(async () => {
      heard = asking.ask('second').then(
        () => 'heard',
        () => 'ended',
      );
      // the host has the question when its answer was counted and rejected
      await expect.poll(() => rejected('output'), { timeout: 20_000 }).toBeGreaterThan(0);
    });
    expect(after.filter(isAnswer)).toEqual([]);
    await asking.end('SIGKILL');
    expect(await heard).toBe('ended');
  });
});

/** Packets that the last rule of a chain has counted. */
function rejected(chain: string): number {
  const text = host.run('nft', 'list', 'chain', 'inet', 'culvert_kill_t0', chain);
  return Number(/counter packets (\d+) /.exec(text)?.[1]);
}

/** Sends until its input ends, to where it may and to where it may not, and counts what the kernel let pass. */
const FLOOD = `
  import { connect, send, setsockopt, socket } from ${JSON.stringify(import.meta.resolve('../../linux/syscall.ts'))};
  const open = (address, mark) => {
    const fd = socket(2, 2, 0);
    setsockopt(fd, 1, 36, mark);
    connect(fd, Uint8Array.of(2, 0, 51_820 >>> 8, 51_820 & 255, ...address, 0, 0, 0, 0, 0, 0, 0, 0), 'connect');
    return fd;
  };
  const fds = [open([198, 51, 100, 7], ${MARK}), open([198, 51, 100, 9], 0)];
  const counts = [[0, 0], [0, 0]];
  const byte = Uint8Array.of(1);
  let goes = true;
  const round = () => {
    for (let i = 0; i < 200; i++) for (const [index, fd] of fds.entries()) {
      try { send(fd, byte); counts[index][0]++; } catch (error) {
        // the second is what the rejection of the one before has left
        if (['EPERM', 'EHOSTUNREACH'].includes(error.errnoName)) counts[index][1]++;
        // the far end has no such port, and says so
        else if (error.errnoName !== 'ECONNREFUSED') throw error;
      }
    }
    if (goes) setImmediate(round); else console.log(JSON.stringify(counts));
  };
  process.stdin.on('data', () => { goes = false; });
  console.log('sending');
  round();
`;

describe('a kill switch that is changed while packets pass', () => {
  /** What was sent and what was refused, to the endpoint and to another. */
  async function during(
    rounds: number,
    change: (round: number) => void,
  ): Promise<[[number, number], [number, number]]> {
    using flood = new LineProcess(host.path, process.execPath, ['--input-type=module-typescript', '-e', FLOOD]);
    expect(await flood.line()).toBe('sending');
    for (let round = 0; round < rounds; round++) change(round);
    return JSON.parse(await flood.ask('end')) as [[number, number], [number, number]];
  }

  it('loses nothing where an endpoint comes or goes beside, and lets nothing out', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const [toEndpoint, toOther] = await during(300, (round) => {
      const moved = { address: parseIp(`198.51.100.${100 + (round % 100)}`), port: 51_820 };
      const table = killSwitchTable({ ...OPTIONS, endpoints: [...OPTIONS.endpoints, moved] });
      // one line for each element that changed, so the table itself stays
      expect(bringTo(netfilter, table).join('\n')).not.toContain('replace table');
    });
    expect(toEndpoint[0]).toBeGreaterThan(0);
    expect(toEndpoint[1]).toBe(0);
    expect(toOther[0]).toBe(0);
    expect(toOther[1]).toBeGreaterThan(0);
  });

  it('lets nothing out where all of it is put in place again', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const [toEndpoint, toOther] = await during(60, () => {
      host.run('nft', 'flush', 'chain', 'inet', 'culvert_kill_t0', 'pass');
      expect(bringTo(netfilter, killSwitchTable(OPTIONS))).toEqual(['replace table inet culvert_kill_t0']);
    });
    expect(toEndpoint[0]).toBeGreaterThan(0);
    expect(toOther[0]).toBe(0);
  });
});

it('refuses a name that another program has taken', () => {
  applyTransaction(netfilter, [newTable({ family: 'inet', name: 'culvert_kill_t0' }, 'mine')]);
  try {
    expect(() => bringTo(netfilter, killSwitchTable(OPTIONS))).toThrow('nft delete table inet culvert_kill_t0');
    expect(() => removeFirewall(netfilter, 'kill switch', 't0')).toThrow('another program made it');
  } finally {
    host.run('nft', 'delete', 'table', 'inet', 'culvert_kill_t0');
  }
});
