import { randomBytes } from 'node:crypto';
import { addIpv4, parseIpv4 } from '../../src/addr/ipv4.ts';
import type { Prefix } from '../../src/addr/prefix.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import type { MeshPeer } from '../../src/mesh/peers.ts';
import { keyOf } from '../../src/plan/wireguard/key.ts';

/** RFC 2544: of no machine, and nobody sends there unasked. */
const ENDPOINTS = parseIpv4('198.18.0.0');
const PORT = 51_820;
/** Subnets of a stand: room for 8,192 hosts beside those that are real. */
export const RANGE: Prefix = { address: parseIpv4('10.64.0.0'), length: 10 };
export const UNIT = 23;

/** The subnet of the host of that number. */
export function subnetOf(index: number): Prefix {
  return { address: addIpv4(RANGE.address, index * 2 ** (32 - UNIT)), length: UNIT };
}

/** Hosts that nobody has ever heard of, for a device to have as peers. @param first number of the first one's subnet */
export function strangers(count: number, first: number): MeshPeer[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `s${first + index}`,
    subnet: subnetOf(first + index),
    address: addIpv4(ENDPOINTS, 1 + index),
    clearPort: DEFAULT_CLEAR_PORT,
    isOnLink: false,
    keys: [{ rotation: 0, publicKey: keyOf(randomBytes(32)), port: PORT }],
  }));
}

/** The same host, found elsewhere. @param turn from 0 to 60,000 */
export function moved(peer: MeshPeer, turn: number): MeshPeer {
  return { ...peer, keys: peer.keys.map((key) => ({ ...key, port: 1024 + turn })) };
}
