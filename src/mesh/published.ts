import { z } from 'zod';
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts';
import type { Prefix } from '../addr/prefix.ts';
import type { Endpoint } from '../plan/wireguard/device.ts';
import { type Key, parseKey } from '../plan/wireguard/key.ts';
import type { MeshPeer } from './peers.ts';

/** What a host tells the others about itself, beside its name and subnet. */
export type Published = {
  readonly publicKey: Key;
  readonly endpoint: Endpoint;
  /** bytes, of its sandboxes' links */
  readonly mtu: number;
};

const schema = z.object({
  publicKey: z.string().transform((text) => parseKey(text)),
  endpoint: z.string().transform((text): Endpoint => {
    const [, address = '', port = ''] = /^([\d.]+):(\d{1,5})$/.exec(text) ?? [];
    return { address: parseIpv4(address), port: Number(port) };
  }),
  mtu: z.int().min(576).max(65_535),
});

/** As it stands in the registry. */
export function writePublished({ publicKey, endpoint, mtu }: Published): object {
  return { publicKey, endpoint: `${formatIpv4(endpoint.address)}:${endpoint.port}`, mtu };
}

/** @throws an error that says what of it cannot be used */
export function readPublished(published: unknown): Published {
  return schema.parse(published);
}

/**
 * The peer that a host is by what it tells.
 *
 * @throws an error that says what of it cannot be used
 */
export function readPeer(name: string, subnet: Prefix, published: unknown): MeshPeer & { readonly endpoint: Endpoint } {
  const { publicKey, endpoint } = readPublished(published);
  return { name, subnet, publicKey, endpoint, keepalive_s: 0 };
}
