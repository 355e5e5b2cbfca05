import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { IpPrefix } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Ipv6 } from '../../addr/ipv6.ts';
import type { Edit, PeerSettings } from '../../plan/wireguard/edit.ts';
import { keyOf } from '../../plan/wireguard/key.ts';
import { eachAttribute, readAttributes } from '../netlink/attribute.ts';
import { GENL_HDRLEN } from '../netlink/constants.ts';
import { MessageWriter } from '../netlink/message.ts';
import { WGDEVICE_A_PEERS, WGPEER_F_REPLACE_ALLOWEDIPS, WGPEER_F_UPDATE_ONLY } from './constants.ts';
import { portionsOf } from './portion.ts';
import { setDevice } from './set-device.ts';

function someKey(number: number) {
  return keyOf(new Uint8Array(32).fill(number));
}

function prefixes(count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => ({ address: (0x0a000000 + index) as Ipv4, length: 32 }));
}

function prefixes6(count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => ({ address: BigInt(index) as Ipv6, length: 128 }));
}

it('fills messages with hundreds of peers', () => {
  const removals = Array.from({ length: 2000 }, (_, index): Edit => ({ verb: 'remove', publicKey: someKey(index) }));
  expect(portionsOf(removals).map(({ peers }) => peers.length)).toEqual([1365, 635]);
});

it('replaces in the first message about a peer, and goes on in others without making one', () => {
  const peer: PeerSettings = { publicKey: someKey(1), keepalive_s: 5, allowedIps: prefixes(5000) };
  for (const verb of ['add', 'change'] as const) {
    const parts = portionsOf([{ verb, peer }]).flatMap(({ peers }) => peers);
    const how = verb === 'change' ? WGPEER_F_UPDATE_ONLY : 0;
    expect(parts.map(({ flags }) => flags)).toEqual([
      how | WGPEER_F_REPLACE_ALLOWEDIPS,
      WGPEER_F_UPDATE_ONLY,
      WGPEER_F_UPDATE_ONLY,
    ]);
    expect(parts.map(({ keepalive_s }) => keepalive_s)).toEqual([5, undefined, undefined]);
    expect(parts.flatMap(({ allowedIps }) => allowedIps)).toEqual(peer.allowedIps);
  }
});

it('fills messages with allowed IPs of either family, whatever else they say of a peer', () => {
  const endpoint = { address: 1n as Ipv6, port: 2 };
  const all = { publicKey: someKey(1), presharedKey: someKey(2), endpoint, keepalive_s: 5 };
  const counts = (allowedIps: IpPrefix[]): (number | undefined)[] =>
    portionsOf([{ verb: 'add', peer: { ...all, allowedIps } }]).flatMap(({ peers }) =>
      peers.map((peer) => peer.allowedIps?.length),
    );
  expect(counts(prefixes(3000))).toEqual([2335, 665]);
  expect(counts(prefixes6(3000))).toEqual([1635, 1365]);
  expect(counts(prefixes6(1635))).toEqual([1635]);
  expect(counts([])).toEqual([0]);
});

const settings = fc.record(
  {
    publicKey: fc.nat(255).map(someKey),
    presharedKey: fc.oneof(fc.constant('none' as const), fc.nat(255).map(someKey)),
    endpoint: fc.constantFrom({ address: 1 as Ipv4, port: 2 }, { address: 1n as Ipv6, port: 2 }),
    keepalive_s: fc.nat(100),
    allowedIps: fc
      .tuple(fc.oneof(fc.nat(3), fc.nat(7000)), fc.oneof(fc.nat(3), fc.nat(4000)))
      .map(([count, count6]) => [...prefixes(count), ...prefixes6(count6)]),
  },
  { requiredKeys: ['publicKey'] },
);
const edit = fc.oneof(
  fc.record({ verb: fc.constant('set' as const), listenPort: fc.nat(9) }),
  fc.record({ verb: fc.constant('remove' as const), publicKey: fc.nat(255).map(someKey) }),
  fc.record({ verb: fc.constantFrom('add' as const, 'change' as const), peer: settings }),
);

/** How many there are as they were written: an attribute whose length does not fit would hold others. */
function countPeers(bytes: Uint8Array): number {
  const peers = readAttributes(bytes, GENL_HDRLEN).get(WGDEVICE_A_PEERS) ?? new Uint8Array();
  return [...eachAttribute(peers)].length;
}

it('writes no attribute that is too long, and says all in its order', () => {
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 60 }), (edits) => {
      const portions = portionsOf(edits);
      for (const portion of portions) {
        const writer = new MessageWriter();
        setDevice(28, { name: 'wg0', index: 909 }, portion).write(writer);
        expect(countPeers(writer.bytes)).toBe(portion.peers.length);
      }
      const said = portions.flatMap(({ peers }) => peers.map(({ publicKey }) => publicKey));
      const meant = edits.flatMap((one) =>
        one.verb === 'set' ? [] : [one.verb === 'remove' ? one.publicKey : one.peer.publicKey],
      );
      expect(withoutRepetition(said)).toEqual(withoutRepetition(meant));
    }),
  );
});

function withoutRepetition(items: readonly string[]): string[] {
  return items.filter((item, index) => item !== items[index - 1]);
}
