import { deepEqual, equal } from 'node:assert/strict';
import { formatIpPrefix } from '../../../addr/ip-prefix.ts';
import type { Device, Peer, SeenDevice } from '../../../plan/wireguard/device.ts';

/** What can be set is the same; peer by peer, for the difference of a thousand would fill all memory. */
export function same(seen: Device | SeenDevice, desired: Device): void {
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
