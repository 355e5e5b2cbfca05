import { formatIpv4 } from '../../src/addr/ipv4.ts';
import { formatPrefix } from '../../src/addr/prefix.ts';
import type { MeshPeer } from '../../src/mesh/peers.ts';
import type { Key } from '../../src/plan/wireguard/key.ts';

/** A device as wg(8) reads it from a file. */
export function wgConfig(privateKey: Key, listenPort: number, peers: Iterable<MeshPeer>): string {
  const parts = [`[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${listenPort}\n`];
  for (const { keys, subnet, address } of peers) {
    for (const { publicKey, port } of keys) {
      parts.push(`[Peer]\nPublicKey = ${publicKey}\nAllowedIPs = ${formatPrefix(subnet)}\n`);
      parts.push(`Endpoint = ${formatIpv4(address)}:${port}\n`);
    }
  }
  return parts.join('\n');
}

/** What `wg show NAME dump` tells of peers, in an order that is the same for all. */
export function dumpedPeers(dump: string): string[] {
  return dump.trimEnd().split('\n').slice(1).toSorted();
}
