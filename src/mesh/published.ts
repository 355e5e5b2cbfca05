import { z } from 'zod';
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts';
import { type Prefix, parsePrefix, prefixHas } from '../addr/prefix.ts';
import { InputError } from '../errors.ts';
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

/** Where no other host is. */
const NOWHERE = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'].map((text) => parsePrefix(text));

const schema = z.object({
  publicKey: z.string().transform((text) => parseKey(text)),
  endpoint: z.string().transform((text): Endpoint => {
    const [, address = '', port = ''] = /^([\d.]+):(\d{1,5})$/.exec(text) ?? [];
    const endpoint = { address: parseIpv4(address), port: Number(port) };
    const isNowhere = NOWHERE.some((prefix) => prefixHas(prefix, endpoint.address));
    if (!isNowhere && endpoint.port >= 1 && endpoint.port <= 65_535) return endpoint;
    throw new InputError('invalid_endpoint', `Cannot send to ${text}: want the address and UDP port of a host`);
  }),
  mtu: z.int().min(576).max(65_535),
});

/** As it stands in the registry. */
export function writePublished({ publicKey, endpoint, mtu }: Published): object {
  return { publicKey, endpoint: `${formatIpv4(endpoint.address)}:${endpoint.port}`, mtu };
}

/** What of a record cannot be used, in a line. */
export function reasonOf(error: unknown): string {
  const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
  if (issue !== undefined) return `${issue.path.join('.')}: ${issue.message}`;
  return error instanceof Error ? error.message : String(error);
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
