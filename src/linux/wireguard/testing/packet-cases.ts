import { deepEqual, equal, ok } from 'node:assert/strict';
import { edits } from '../../../plan/wireguard/edit.ts';
import type { Key } from '../../../plan/wireguard/key.ts';
import type { Case } from './case.ts';
import { Datagrams } from './datagrams.ts';
import { runAround, WG0 } from './lab-device.ts';
import { same } from './same.ts';
import { randomKey, somePeers } from './some-peers.ts';
import { byIpv4, byIpv6, byLinkLocal, PORT, reaches, Tunnel } from './tunnel.ts';
import { until } from './until.ts';
import { readWgDump } from './wg-dump.ts';

/** What a device does to packets, and where it sends them. */
export const packetCases: readonly Case[] = [
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
];
