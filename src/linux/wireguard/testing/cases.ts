import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { formatIpPrefix, type IpPrefix, parseIpPrefix } from '../../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../../addr/ipv6.ts';
import { CulvertError } from '../../../errors.ts';
import type { Device, Peer, SeenDevice } from '../../../plan/wireguard/device.ts';
import { type Edit, edits } from '../../../plan/wireguard/edit.ts';
import { type Key, keyOf } from '../../../plan/wireguard/key.ts';
import { SOCK_CLOEXEC } from '../../netlink/constants.ts';
import { SOCK_DGRAM } from '../../notify-socket.ts';
import { AF_INET } from '../../route/constants.ts';
import { socketAddress } from '../../socket-address.ts';
import { bind, close, socket } from '../../syscall.ts';
import { Datagrams } from './datagrams.ts';
import type { TunnelHosts } from './hosts.ts';
import { type DeviceMaker, indexOf, runAround, WG0 } from './lab-device.ts';
import { byIpv4, byIpv6, byLinkLocal, End, PORT, reaches, Tunnel } from './tunnel.ts';
import { until } from './until.ts';
import { readWgDump } from './wg-dump.ts';

/**
 * What every backend has to do, on a real device. It is not written for one runner of tests: kernels that have what it
 * needs may have little else.
 */
export type Case = {
  readonly name: string;
  readonly run: (hosts: TunnelHosts, maker: DeviceMaker) => Promise<void>;
};

export const cases: readonly Case[] = [
  {
    name: 'has the name and the index in its router that were chosen, and nothing before it is told anything',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const { host, router } = end.side;
      deepEqual(
        [host, router].map((namespace) => namespace.within(() => indexOf(WG0.name))),
        [undefined, WG0.index],
      );
      // a port that nobody chose may be open
      const { privateKey, peers } = end.backend.read();
      deepEqual([privateKey, peers], [undefined, new Map()]);
      equal(end.backend.isAlive, true);
      end.backend.edit([]);
    },
  },
  {
    name: 'has the key, the port and the mark that it is told',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const { privateKey } = end.keys;
      const seen = { privateKey, listenPort: PORT, fwMark: 0, peers: new Map() };
      end.backend.edit([{ verb: 'set', privateKey, listenPort: PORT }]);
      deepEqual(end.backend.read(), seen);
      end.backend.edit([{ verb: 'set', listenPort: PORT + 1 }]);
      deepEqual(end.backend.read(), { ...seen, listenPort: PORT + 1 });
      for (const fwMark of [1, 0xffffffff, 0]) {
        end.backend.edit([{ verb: 'set', fwMark }]);
        deepEqual(end.backend.read(), { ...seen, listenPort: PORT + 1, fwMark });
      }
    },
  },
  {
    name: 'has the peers that it is told, whatever it had, and is told nothing then',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      for (let round = 0; round < 12; round++) {
        const desired = { ...end.as(...somePeers()), fwMark: randomInt(2) * randomInt(2 ** 32) };
        end.bring(desired);
        same(end.backend.read(), desired);
        same(readWgDump(runAround(end.device, 'wg', 'show', WG0.name, 'dump')), desired);
        deepEqual(edits(end.backend.read(), desired, Date.now()), []);
      }
    },
  },
  {
    name: 'carries packets between routers, and tells when and how many',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      const before = Date.now();
      await tunnel.raise();
      const peer = left.backend.read().peers.get(right.keys.publicKey);
      ok(peer !== undefined && peer.sent > 0 && peer.received > 0);
      ok(peer.lastHandshakeMs >= before - 1000 && peer.lastHandshakeMs <= Date.now() + 1000);
      using datagrams = new Datagrams(left.side, right.side);
      datagrams.send(10);
      await until('datagrams to come back', () => datagrams.turn() === 0);
      deepEqual(edits(left.backend.read(), left.as(right.peer), Date.now()), []);
    },
  },
  {
    name: 'carries packets of both families by either',
    async run(hosts, maker) {
      for (const endpoint of [byIpv4, byIpv6]) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await using tunnel = new Tunnel(hosts, maker);
        const { left, right } = tunnel;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await tunnel.raise(endpoint);
        equal(reaches(left, right, right.side.inner6), true);
        const desired = left.as({ ...right.peer, endpoint: endpoint(left.side, right.side) });
        same(left.backend.read(), desired);
        same(readWgDump(runAround(left.device, 'wg', 'show', WG0.name, 'dump')), desired);
        deepEqual(edits(left.backend.read(), desired, Date.now()), []);
      }
    },
  },
  {
    name: 'sends by the link that is told with a link-local address',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      await tunnel.raise(byLinkLocal);
      const endpoint = byLinkLocal(left.side, right.side);
      const seen = left.backend.read().peers.get(right.keys.publicKey)?.endpoint;
      // not every program tells the link
      deepEqual({ scopeId: endpoint.scopeId, ...seen }, endpoint);
      deepEqual(edits(left.backend.read(), left.as({ ...right.peer, endpoint }), Date.now() + 200_000), []);
    },
  },
  {
    name: 'follows a peer from one family to the other',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      await tunnel.raise();
      for (const way of [byIpv6, byIpv4]) {
        const { publicKey } = left.keys;
        right.backend.edit([{ verb: 'change', peer: { publicKey, endpoint: way(right.side, left.side) } }]);
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await until('the other end to be heard', () => reaches(right, left));
        const seen = left.backend.read();
        deepEqual(seen.peers.get(right.keys.publicKey)?.endpoint, way(left.side, right.side));
        deepEqual(edits(seen, left.as(right.peer), Date.now()), []);
      }
    },
  },
  {
    name: 'marks what it sends for as long as it is told',
    async run(hosts, maker) {
      const fwMark = 0x51820;
      for (const [endpoint, family] of [
        [byIpv4, '-4'],
        [byIpv6, '-6'],
      ] as const) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await using tunnel = new Tunnel(hosts, maker);
        const { left, right } = tunnel;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await tunnel.raise(endpoint);
        const desired = left.as({ ...right.peer, endpoint: endpoint(left.side, right.side) });
        // what bears the mark goes nowhere
        const rule = [family, 'rule', 'add', 'fwmark', String(fwMark), 'blackhole'];
        left.side.host.run('ip', ...rule);
        try {
          equal(reaches(left, right), true);
          left.bring({ ...desired, fwMark });
          equal(reaches(left, right), false);
          left.bring(desired);
          // oxlint-disable-next-line no-await-in-loop -- one after the other
          await until('the tunnel to carry packets again', () => reaches(left, right));
        } finally {
          left.side.host.run('ip', ...rule.with(2, 'delete'));
        }
      }
    },
  },
  {
    name: 'chooses a port where none is told, and keeps it',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      const { listenPort: _, ...desired } = left.as(right.peer);
      left.bring(desired);
      left.raiseLink();
      const { endpoint: __, ...peer } = left.peer;
      right.raise(peer);
      await until('the tunnel to carry packets', () => reaches(left, right));
      const port = left.backend.read().listenPort;
      deepEqual(right.backend.read().peers.get(peer.publicKey)?.endpoint, { address: left.side.outer, port });
      deepEqual(edits(left.backend.read(), desired, Date.now()), []);
      left.bring(left.as(right.peer));
      equal(left.backend.read().listenPort, PORT);
      deepEqual(edits(left.backend.read(), desired, Date.now()), []);
      left.backend.edit([{ verb: 'set', listenPort: 0 }]);
      ok(left.backend.read().listenPort > 0);
      await until('the other end to be heard again', () => reaches(left, right));
    },
  },
  {
    name: 'leaves a peer undisturbed while others are edited a hundred times',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      await tunnel.raise();
      const lastHandshake = (): number => left.backend.read().peers.get(right.keys.publicKey)?.lastHandshakeMs ?? 0;
      const before = lastHandshake();
      using datagrams = new Datagrams(left.side, right.side);
      for (let count = 0; count < 100; ) {
        const rounds = edits(left.backend.read(), left.as(right.peer, ...somePeers()), Date.now());
        for (const edit of rounds) {
          datagrams.send(2);
          left.backend.edit([edit]);
          count++;
          // no more on their way than a socket holds
          // oxlint-disable-next-line no-await-in-loop -- one after the other
          await until('datagrams to come back', () => datagrams.turn() < 50);
        }
      }
      await until('the last datagrams to come back', () => datagrams.turn() === 0);
      const passed = lastHandshake() - before;
      // by itself it does it again after two minutes
      ok(passed === 0 || passed > 100_000, `a handshake after ${passed} ms`);
    },
  },
  {
    name: 'has a preshared key for as long as it is told',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      const presharedKey = randomKey();
      left.raise({ ...right.peer, presharedKey });
      right.raise({ ...left.peer, presharedKey });
      await until('the tunnel to carry packets', () => reaches(left, right));
      const shown = (): Key | undefined => left.backend.read().peers.get(right.keys.publicKey)?.presharedKey;
      equal(shown(), presharedKey);
      left.bring(left.as(right.peer));
      right.bring(right.as(left.peer));
      equal(shown(), undefined);
      equal(
        readWgDump(runAround(left.device, 'wg', 'show', WG0.name, 'dump')).peers.get(right.keys.publicKey)
          ?.presharedKey,
        undefined,
      );
      equal(reaches(left, right), true);
    },
  },
  {
    name: 'makes no peer that it is to change, and changes one that it is to add',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const peer = somePeer(1, [parseIpPrefix('10.1.0.0/24')]);
      const stranger = somePeer(2, [parseIpPrefix('10.2.0.0/24'), ...manyPrefixes(5000, 3000)]);
      end.backend.edit([{ verb: 'set', privateKey: end.keys.privateKey, listenPort: PORT }]);
      end.backend.edit([{ verb: 'change', peer: stranger }]);
      end.backend.edit([{ verb: 'remove', publicKey: randomKey() }]);
      deepEqual([...end.backend.read().peers.keys()], []);
      end.backend.edit([{ verb: 'add', peer }]);
      end.backend.edit([{ verb: 'add', peer: { publicKey: peer.publicKey, keepalive_s: 7 } }]);
      same(end.backend.read(), end.as({ ...peer, keepalive_s: 7 }));
    },
  },
  {
    name: 'replaces the allowed IPs of a peer',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const peer = somePeer(1, manyPrefixes(0, 10));
      const other = somePeer(2, [parseIpPrefix('10.2.0.0/24')]);
      end.bring(end.as(peer, other));
      for (const allowedIps of [
        manyPrefixes(5, 10),
        manyPrefixes(5, 5000),
        [],
        [parseIpPrefix('10.3.0.0/24')],
        [parseIpPrefix('2001:db8:3::/48'), parseIpPrefix('::/0')],
        [...manyPrefixes6(5, 3000), ...manyPrefixes(5, 3000)],
        [parseIpPrefix('::/0'), parseIpPrefix('0.0.0.0/0')],
        [parseIpPrefix('0.0.0.0/0')],
      ]) {
        end.backend.edit([{ verb: 'change', peer: { publicKey: peer.publicKey, allowedIps } }]);
        same(end.backend.read(), end.as({ ...peer, allowedIps }, other));
      }
    },
  },
  {
    name: 'gives what a peer had to the next in one go',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const [first, second] = [[parseIpPrefix('10.1.0.0/24')], [parseIpPrefix('10.2.0.0/24')]];
      const [one, two, three] = [somePeer(1, first), somePeer(2, second), somePeer(3, first)];
      for (const peers of [
        [one, two],
        [two, three],
        [
          { ...two, allowedIps: first },
          { ...three, allowedIps: second },
        ],
      ]) {
        end.bring(end.as(...peers));
        same(end.backend.read(), end.as(...peers));
      }
    },
  },
  {
    name: 'says in words what it refuses',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      await tunnel.raise();
      const { left, right } = tunnel;
      const taken = left.side.host.within(() => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      try {
        bind(taken, socketAddress(0 as Ipv4, PORT + 1));
        const peers = Array.from({ length: 500 }, (_, index) => somePeer(index, manyPrefixes(index, 1)));
        const adds = peers.map((peer): Edit => ({ verb: 'add', peer }));
        for (const more of [[], adds]) {
          throws(
            () => left.backend.edit([{ verb: 'set', listenPort: PORT + 1 }, ...more]),
            refused(/^Cannot set wg0: .*EADDRINUSE/),
          );
          equal(left.backend.isAlive, true);
        }
      } finally {
        close(taken);
      }
      left.bring(left.as(right.peer));
      same(left.backend.read(), left.as(right.peer));
    },
  },
  {
    name: 'reads a thousand peers whole, and what they have',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const peers = Array.from({ length: 1000 }, (_, index) =>
        somePeer(index, [...manyPrefixes(2 * index, 2), ...manyPrefixes6(2 * index, 2)]),
      );
      const all = [
        ...peers,
        somePeer(2000, manyPrefixes(10_000, 3000)),
        somePeer(2001, manyPrefixes6(10_000, 2000)),
        somePeer(2002, manyPrefixes(20_000, 3)),
      ];
      end.bring(end.as(...all));
      same(end.read(), end.as(...all));
      same(readWgDump(runAround(end.device, 'wg', 'show', WG0.name, 'dump')), end.as(...all));
      // every second one goes, in as few messages
      const half = all.filter((_, index) => index % 2 === 0);
      end.bring(end.as(...half));
      same(end.read(), end.as(...half));
    },
  },
  {
    name: 'reads a peer whole, or says that it could not, while another writes',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const all = manyPrefixes(0, 3000);
      const other = somePeer(2, []);
      end.bring(end.as(somePeer(1, all), other));
      const change = `wg set ${WG0.name} peer ${other.publicKey} allowed-ips`;
      const script = `echo begun; while ${change} 10.77.0.0/24 && ${change} 10.78.0.0/24; do :; done`;
      const [program, ...rest] = [...end.device.around, 'sh', '-c', script];
      const writer = spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
      const ended = once(writer, 'exit');
      await once(writer.stdout, 'data');
      try {
        for (let attempt = 0; attempt < 20; attempt++) {
          readsWhole(end, all.length);
          // oxlint-disable-next-line no-await-in-loop -- one after the other
          await turn();
        }
        equal(writer.exitCode, null);
      } finally {
        writer.kill('SIGKILL');
        await ended;
      }
      equal(readsWhole(end, all.length), true);
    },
  },
  {
    name: 'leaves a peer where it was heard from for as long as its session lives',
    async run(hosts, maker) {
      await using tunnel = new Tunnel(hosts, maker);
      const { left, right } = tunnel;
      await tunnel.raise();
      const elsewhere = { address: right.side.outer, port: PORT + 7 };
      right.backend.edit([{ verb: 'set', listenPort: elsewhere.port }]);
      await until('the other end to be heard', () => reaches(right, left));
      const seen = left.backend.read();
      const peer = seen.peers.get(right.keys.publicKey);
      deepEqual(peer?.endpoint, elsewhere);
      const desired = left.as(right.peer);
      deepEqual(edits(seen, desired, Date.now()), []);
      const { publicKey, endpoint } = right.peer;
      deepEqual(edits(seen, desired, Date.now() + 200_000), [{ verb: 'change', peer: { publicKey, endpoint } }]);
      equal(reaches(left, right), true);
    },
  },
  {
    name: 'says that it is gone',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      end.bring(end.as(somePeer(1, [])));
      end.device.kill();
      await until('it to be gone', () => !end.backend.isAlive);
      const edit: Edit = { verb: 'set', listenPort: PORT };
      throws(() => end.backend.read(), away);
      throws(() => end.backend.edit([edit]), away);
      // what a program that ends has open goes one after the other
      await until('nobody to listen', () => !isThere(end));
    },
  },
  {
    name: 'is away where another kind of link has its name and its index',
    async run(hosts, maker) {
      await using end = new End(hosts.left, maker);
      const { router } = end.side;
      end.device.kill();
      await until('it to be gone', () => !end.backend.isAlive && router.within(() => indexOf(WG0.name)) === undefined);
      router.ip(`link add ${WG0.name} index ${WG0.index} type veth peer name stray`);
      try {
        throws(() => end.backend.read(), away);
        equal(end.backend.isAlive, false);
        throws(() => {
          using backend = end.device.open();
          backend.read();
        }, away);
      } finally {
        router.ip(`link delete ${WG0.name}`);
      }
    },
  },
];

function isThere(end: End): boolean {
  try {
    end.device.open()[Symbol.dispose]();
    return true;
  } catch (error) {
    if (away(error)) return false;
    throw error;
  }
}

/** Whether a reading came whole; one that did not says so, never that there is less. */
function readsWhole(end: End, count: number): boolean {
  try {
    const [peer] = [...end.backend.read().peers.values()].filter(({ keepalive_s }) => keepalive_s === 1);
    equal(peer?.allowedIps.length, count);
    return true;
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'dump_interrupted') return false;
    throw error;
  }
}

const away = (error: unknown): boolean => error instanceof CulvertError && error.code === 'wireguard_away';

const refused =
  (words: RegExp) =>
  (error: unknown): boolean => {
    ok(error instanceof CulvertError && ['kernel_refused', 'wireguard_refused'].includes(error.code));
    match(error.message, words);
    return true;
  };

/** What can be set is the same; peer by peer, for the difference of a thousand would fill all memory. */
function same(seen: Device | SeenDevice, desired: Device): void {
  const own = ({ privateKey, listenPort, fwMark = 0 }: Device | SeenDevice): unknown => [
    privateKey,
    listenPort,
    fwMark,
  ];
  deepEqual(own(seen), own(desired));
  equal(seen.peers.size, desired.peers.size);
  for (const [publicKey, peer] of desired.peers) deepEqual(plain(seen.peers.get(publicKey)), plain(peer));
}

/** In an order that says nothing. */
function plain(peer: Peer | undefined): unknown {
  if (peer === undefined) return undefined;
  const { publicKey, presharedKey, endpoint, keepalive_s, allowedIps } = peer;
  return { publicKey, presharedKey, endpoint, keepalive_s, allowedIps: allowedIps.map(formatIpPrefix).toSorted() };
}

function randomKey(): Key {
  return keyOf(randomBytes(32));
}

/** Public keys of the peers that tests know by a number; nobody has the private ones. */
const publicKeys = new Map<number, Key>();

function publicKeyOf(number: number): Key {
  const key = publicKeys.get(number) ?? randomKey();
  publicKeys.set(number, key);
  return key;
}

const NOWHERE = parseIpv6('2001:db8:ffff::');

/** Behind an address that no host has a route to, so that nothing is sent there. */
function somePeer(number: number, allowedIps: readonly IpPrefix[]): Peer {
  const at = number % 100;
  const address = at % 2 === 0 ? ((0xc6336401 + at) as Ipv4) : ((NOWHERE + BigInt(at)) as Ipv6);
  const endpoint = { address, port: PORT };
  return { publicKey: publicKeyOf(number), endpoint, keepalive_s: number % 3, allowedIps };
}

/** Some of eight, each with some of what may be set; what one had another may have the next time. */
function somePeers(): Peer[] {
  const prefixes = manyPrefixes(0, 16)
    .flatMap((prefix, index) => [prefix, ...manyPrefixes6(index, 1)])
    .toSorted(() => randomInt(2) - 0.5);
  return Array.from({ length: 8 }, (_, number) => number)
    .filter(() => randomInt(3) > 0)
    .map((number) => ({
      ...somePeer(number, prefixes.splice(0, randomInt(4))),
      keepalive_s: randomInt(3) * 10,
      ...(randomInt(2) === 0 ? {} : { presharedKey: randomKey() }),
    }));
}

/** Disjoint ones, of different lengths, behind each other. */
function manyPrefixes(first: number, count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return { address: (0x0a000000 + number * 256) as Ipv4, length: 24 + (number % 9) };
  });
}

function manyPrefixes6(first: number, count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return { address: (FIRST_PREFIX6 + (BigInt(number) << 64n)) as Ipv6, length: 64 + (number % 65) };
  });
}

const FIRST_PREFIX6 = parseIpv6('fd00::');
