import { once } from 'node:events';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildFrame } from '../../../lab/frame.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { dumpFlows } from './dump.ts';
import type { Flow, Tuple } from './flow.ts';
import { flushAddresses } from './flush.ts';

/*
 *   client                     router                                         server
 *   ┌──────────────────┐       ┌──────────────────────────────────────┐       ┌────────────┐
 *   │ eth0 10.1.0.2/16 │───────│ c0 10.1.0.1      s0 192.0.2.1        │───────│ 192.0.2.7  │
 *   │ (raw and real)   │       │ source becomes 192.0.2.1 on the way  │       │ TCP 7000   │
 *   └──────────────────┘       │ 198.51.100.9 is 192.0.2.7 behind it  │       └────────────┘
 *                              └──────────────────────────────────────┘
 */

const CLIENT = '02:00:00:00:01:02';
const ROUTER = '02:00:00:00:01:01';
const TRANSLATED = '198.51.100.9';
const ZONED_PORT = 77;
const HALF_ZONED_PORT = 78;

// Entries of UDP that nobody answers would be gone after half a minute, which a slow machine may take.
const RULES = `
table inet lab {
  chain raw {
    type filter hook prerouting priority raw
    udp dport ${ZONED_PORT} ct zone set 9
    udp dport ${HALF_ZONED_PORT} ct original zone set 5
  }
  chain in {
    type nat hook prerouting priority dstnat
    ip daddr ${TRANSLATED} dnat ip to 192.0.2.7
  }
  chain out {
    type nat hook postrouting priority srcnat
    oifname s0 masquerade
  }
}`;

const LISTENER = `
const { createServer } = require('node:net');
createServer((socket) => socket.resume()).listen(7000, () => console.log('listening'));
process.stdin.on('end', () => process.exit()).resume();`;

/** A slow machine fails no test. */
const timeout = 60_000;

let client: LabNamespace;
let router: LabNamespace;
let server: LabNamespace;
let wire: RawLink;
let netfilter: NetlinkSocket;

beforeAll(async () => {
  [client, router, server] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
  router.ip(
    `link add c0 index 10 address ${ROUTER} type veth peer name eth0 index 2 address ${CLIENT} netns ${client.pid}`,
    `link add s0 type veth peer name eth0 netns ${server.pid}`,
    'link set c0 up',
    'link set s0 up',
    'address add 10.1.0.1/16 dev c0',
    'address add 192.0.2.1/24 dev s0',
  );
  client.ip('link set eth0 up', 'address add 10.1.0.2/16 dev eth0', 'route add default via 10.1.0.1');
  server.ip('link set eth0 up', 'address add 192.0.2.7/24 dev eth0');
  router.forward();
  router.run('sh', '-c', 'echo 86400 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout');
  router.run('nft', RULES);
  const listener = server.start(process.execPath, '-e', LISTENER);
  if (listener.stdout === null) throw new Error('the listener has no output');
  await once(listener.stdout, 'data');
  wire = new RawLink(client, 2);
  netfilter = router.netfilter();
}, timeout);

beforeEach(() => void router.run('conntrack', '-F'));

afterAll(async () => {
  wire[Symbol.dispose]();
  netfilter[Symbol.dispose]();
  await Promise.all([client.close(), router.close(), server.close()]);
});

function sendDatagram(from: string, to: string, sourcePort: number, destinationPort: number): void {
  const body = { kind: 'udp', from: sourcePort, to: destinationPort, text: '' } as const;
  wire.send(buildFrame({ ether: { from: CLIENT, to: ROUTER }, from, to, body }));
}

function connect(address: string): void {
  client.run('bash', '-c', `echo hello > /dev/tcp/${address}/7000`);
}

/** What conntrack(8) lists as {@link flowText} writes it. */
function listed(): string[] {
  const lines = router.run('conntrack', '-L', '-o', 'id').split('\n');
  return lines
    .filter((line) => line !== '')
    .map(asText)
    .toSorted();
}

/** The last `id=` is the flow's; one before it is part of a tuple of ICMP. */
function asText(line: string): string {
  const words = line.split(/\s+/);
  const all = (name: string): string[] =>
    words.filter((word) => word.startsWith(`${name}=`)).map((word) => word.slice(name.length + 1));
  const [sources, destinations, sports, dports] = ['src', 'dst', 'sport', 'dport'].map(all);
  const tuple = (i: number): string => `${sources?.[i]}:${sports?.[i]}>${destinations?.[i]}:${dports?.[i]}`;
  const zones = words.filter((word) => word.startsWith('zone'));
  return [words[1], tuple(0), tuple(1), `id=${all('id').at(-1)}`, ...zones].join(' ');
}

function flowText({ protocol, original, reply, id, zone }: Flow): string {
  const tuple = ({ source, destination, sourcePort, destinationPort }: Tuple): string =>
    `${formatIpv4(source)}:${sourcePort}>${formatIpv4(destination)}:${destinationPort}`;
  const zones = Object.entries({ zone, 'zone-orig': original.zone, 'zone-reply': reply.zone });
  const known = zones.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value}`);
  return [protocol, tuple(original), tuple(reply), `id=${id}`, ...known].join(' ');
}

function holds(text: string, addresses: readonly string[]): boolean {
  const found = text.matchAll(/(?<=[ >])[0-9.]+(?=:)/g);
  return [...found].some(([address]) => addresses.includes(address));
}

function setOf(addresses: readonly string[]): Set<Ipv4> {
  return new Set(addresses.map(parseIpv4));
}

describe('dumpFlows', { timeout }, () => {
  it('lists what conntrack(8) lists', () => {
    sendDatagram('10.1.0.3', '192.0.2.7', 1000, 2000);
    sendDatagram('10.1.0.4', TRANSLATED, 1000, 2000);
    sendDatagram('10.1.0.5', '192.0.2.7', 1000, ZONED_PORT);
    sendDatagram('10.1.0.6', '192.0.2.7', 1000, HALF_ZONED_PORT);
    connect('192.0.2.7');
    connect(TRANSLATED);
    client.run('ping', '-c1', '-W5', '192.0.2.7');
    expect(dumpFlows(netfilter).map(flowText).toSorted()).toEqual(listed());
    expect(listed().join('\n')).toMatch(/zone=9/);
    expect(listed()).toHaveLength(7);
  });

  it('finds nothing where nothing is tracked', () => {
    using quiet = server.netfilter();
    expect(dumpFlows(quiet)).toEqual([]);
  });
});

describe('flushAddresses', { timeout }, () => {
  const sources = ['10.1.0.3', '10.1.0.4', '10.1.0.5', '10.1.0.30', '10.1.3.3'];
  const destinations = ['192.0.2.7', '192.0.2.70', TRANSLATED];
  const port = fc.constantFrom(1000, 2000, ZONED_PORT, HALF_ZONED_PORT);
  const datagram = fc.tuple(fc.constantFrom(...sources), fc.constantFrom(...destinations), port, port);
  // also an address of the router's, which stands in replies only, and one that nothing has
  const flushed = fc.subarray([...sources, ...destinations, '192.0.2.1', '10.1.0.99']);

  it('deletes the flows of these addresses and no other', () => {
    fc.assert(
      fc.property(fc.uniqueArray(datagram, { maxLength: 40 }), flushed, (datagrams, addresses) => {
        router.run('conntrack', '-F');
        for (const [from, to, sourcePort, destinationPort] of datagrams) {
          sendDatagram(from, to, sourcePort, destinationPort);
        }
        const before = listed();
        const stay = before.filter((line) => !holds(line, addresses));
        expect(flushAddresses(netfilter, setOf(addresses))).toMatchObject({
          deleted: before.length - stay.length,
          left: [],
        });
        expect(listed()).toEqual(stay);
      }),
      { numRuns: 20 },
    );
  });

  it('deletes TCP that is translated, by the address before and after', () => {
    connect('192.0.2.7');
    connect(TRANSLATED);
    expect(flushAddresses(netfilter, setOf([TRANSLATED]))).toMatchObject({ deleted: 1, left: [] });
    expect(listed()).toHaveLength(1);
    expect(flushAddresses(netfilter, setOf(['192.0.2.1']))).toMatchObject({ deleted: 1, left: [] });
    expect(listed()).toEqual([]);
  });

  it('deletes thousands', () => {
    const count = 6000;
    for (let flow = 0; flow < count; flow++) {
      sendDatagram(flow % 4 === 0 ? '10.1.0.3' : '10.1.0.4', '192.0.2.7', 1 + (flow % 500), 2000 + flow);
    }
    expect(dumpFlows(netfilter)).toHaveLength(count);
    expect(flushAddresses(netfilter, setOf(['10.1.0.4']))).toMatchObject({ deleted: (count * 3) / 4, left: [] });
    const left = dumpFlows(netfilter);
    expect(left).toHaveLength(count / 4);
    expect(left.every(({ original }) => formatIpv4(original.source) === '10.1.0.3')).toBe(true);
  });

  it('deletes nothing where it is given no address', () => {
    sendDatagram('10.1.0.3', '192.0.2.7', 1000, 2000);
    expect(flushAddresses(netfilter, new Set())).toMatchObject({ deleted: 0, left: [] });
    expect(listed()).toHaveLength(1);
  });
});
