import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { parseIpPrefix } from '../../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../../addr/ipv4.ts';
import { CulvertError } from '../../../errors.ts';
import { type Edit, edits } from '../../../plan/wireguard/edit.ts';
import { SOCK_CLOEXEC } from '../../netlink/constants.ts';
import { SOCK_DGRAM } from '../../notify-socket.ts';
import { AF_INET } from '../../route/constants.ts';
import { socketAddress } from '../../socket-address.ts';
import { bind, close, socket } from '../../syscall.ts';
import type { Case } from './case.ts';
import { indexOf, runAround, WG0 } from './lab-device.ts';
import { same } from './same.ts';
import { manyPrefixes, manyPrefixes6, randomKey, somePeer, somePeers } from './some-peers.ts';
import { End, PORT, reaches, Tunnel } from './tunnel.ts';
import { until } from './until.ts';
import { readWgDump } from './wg-dump.ts';

/** What a device has, by what it is told. */
export const deviceCases: readonly Case[] = [
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
