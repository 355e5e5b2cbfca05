import { describe, expect, it } from 'vitest';
import { LineProcess } from '../../../lab/line-process.ts';
import type { LabNamespace } from '../../../lab/namespace.ts';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { bringTo, difference } from './keeper.ts';
import { killSwitchTable } from './kill-switch.ts';
import { type Packet, packetText, readPacket, transmit } from './testing/packets.ts';
import { type KillSwitchStage, MARK, OPTIONS, useKillSwitchStage, WIRE } from './testing/stage.ts';

/* What a kill switch lets pass: see the drawing in testing/stage.ts. */

let stage: KillSwitchStage;
let guest: LabNamespace;
let host: LabNamespace;
let outside: LabNamespace;
let far: LabNamespace;
let netfilter: NetlinkSocket;
useKillSwitchStage((made) => {
  stage = made;
  ({ guest, host, outside, far, netfilter } = made);
});

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
  { kind: 'udp', to: '255.255.255.255', port: 67, fromPort: 68 },
  { kind: 'udp', to: '192.168.1.1', port: 67, fromPort: 68 },
  { kind: 'udp', to: 'ff02::1:2', port: 547, fromPort: 546, link: WIRE },
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
  // the ports of DHCP, from others, and to where no server of the link is
  { kind: 'udp', to: '198.51.100.9', port: 67, fromPort: 68 },
  { kind: 'udp', to: '192.0.2.7', port: 68, fromPort: 67 },
  { kind: 'udp', to: '2001:db8:9::9', port: 547, fromPort: 546 },
  { kind: 'udp', to: '192.0.2.7', port: 67 },
  { kind: 'udp', to: '192.0.2.7', port: 68, fromPort: 68 },
];

describe('a kill switch', () => {
  it('lets pass what it should and nothing else, all of which left before', async () => {
    const both = [...PASSING, ...STOPPED];
    const texts = (packets: readonly Packet[]): string[] => [...new Set(packets.map(packetText))].toSorted();
    const before = await stage.onWireSeen(() => {
      for (const packet of both) transmit(host, packet);
    });
    expect(before.filter((text) => texts(both).includes(text))).toEqual(texts(both));

    bringTo(netfilter, killSwitchTable(OPTIONS));
    const results: string[] = [];
    // by itself, since some of what is stopped differs from what passes by its mark alone
    expect(
      await stage.onWireSeen(() => {
        for (const packet of STOPPED) results.push(transmit(host, packet));
      }),
    ).toEqual([]);
    expect(
      await stage.onWireSeen(() => {
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
    const texts = await stage.onTunnelSeen(() => {
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
      stage.all(stage.onWire, from, '203.0.113.99', body);
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
    const texts = await stage.onWire.untilRead(readPacket, (text) => text === packetText(packet));
    expect(texts.filter((text) => text.startsWith('icmpv6 135 '))).not.toEqual([]);
    expect(await onWireAll(host, () => transmit(host, { kind: 'neighbour', to }))).toContain(`icmpv6 135 ${to}`);
    // a new address is a new group that the host listens to
    host.ip('address add 2001:db8::99/64 dev wire nodad');
    await stage.onWire.untilRead(readPacket, (text) => text === 'icmpv6 143 ff02::16');
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
    const before = await stage.onWireSeen(send, guest);
    expect(before).toEqual([...open, ...stopped].map(packetText).toSorted());
    bringTo(netfilter, killSwitchTable(OPTIONS));
    expect(await stage.onWireSeen(send, guest)).toEqual(open.map(packetText).toSorted());
    // by the tunnel, and its answers back
    guest.run('ping', '-c', '1', '-W', '5', '10.9.0.2');
    guest.run('ping', '-c', '1', '-W', '5', 'fd09::2');
    // of itself nobody in the tunnel reaches who is behind, nor the wire
    expect(() => far.run('ping', '-c', '1', '-W', '1', '10.7.0.2')).toThrow();
    expect(
      await stage.onWireSeen(() => {
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
      expect(await stage.onWireSeen(send)).toEqual(['udp 7777 10.9.0.2', 'udp 7779 198.51.100.9']);
      bringTo(netfilter, killSwitchTable(OPTIONS));
      expect(await stage.onWireSeen(send)).toEqual([]);
      const into: Packet = { kind: 'udp', to: '198.51.100.9', port: 7778 };
      expect(await stage.onTunnelSeen(() => expect(transmit(host, into)).toBe('sent'))).toEqual([packetText(into)]);
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
        await stage.onWireSeen(() => {
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
      expect(await stage.onWireSeen(() => expect(transmit(host, packet)).toBe('EPERM'))).toEqual([]);
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
    const before = await stage.onWireSeen(async () => expect(await asking.ask('first')).toBe('heard'));
    expect(before.filter(isAnswer)).not.toEqual([]);
    bringTo(netfilter, killSwitchTable(OPTIONS));
    let heard: Promise<string> | undefined;
    const after = await stage.onWireSeen(async () => {
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
