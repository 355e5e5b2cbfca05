import { z } from 'zod';
import { formatIpv4, type Ipv4, LEAST_MTU, parseIpv4 } from '../addr/ipv4.ts';
import { type Prefix, parsePrefix, prefixHas } from '../addr/prefix.ts';
import { InputError } from '../errors.ts';
import { plainText } from '../plain-text.ts';
import { parseKey } from '../plan/wireguard/key.ts';
import type { HostKey, MeshPeer } from './peers.ts';

/** What a host tells the others about itself, beside its name and subnet. */
export type Published = Pick<MeshPeer, 'address' | 'clearPort' | 'keys'> & {
  /** bytes of the IP packets of sandboxes that its uplink can take */
  readonly mtu: number;
  /** whether it takes no new sandboxes */
  readonly isDraining: boolean;
};

/** Where no other host is. */
const NOWHERE = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'].map((text) => parsePrefix(text));

/** Keys of one host: those that it has, and while they are changed those that come. */
const KEYS_MAX = 2;

const port = z.int().min(1).max(65_535);

const schema = z.object({
  address: z.string().transform((text) => {
    const address = parseIpv4(text);
    if (!NOWHERE.some((prefix) => prefixHas(prefix, address))) return address;
    throw new InputError('invalid_endpoint', `Cannot send to ${text}: want the address of a host`);
  }),
  clearPort: port,
  keys: z
    .array(
      z.object({
        rotation: z.int().min(0).max(0xffffffff),
        publicKey: z.string().transform((text) => parseKey(text)),
        port,
      }),
    )
    .min(1)
    .max(KEYS_MAX),
  mtu: z.int().min(LEAST_MTU).max(65_535),
  // one of an older version does not say
  isDraining: z.boolean().default(false),
});

/** As it stands in the registry. */
export function writePublished({ address, ...published }: Published): object {
  return { ...published, address: formatIpv4(address) };
}

/** What of a record cannot be used, in a line. */
export function reasonOf(error: unknown): string {
  const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
  if (issue !== undefined) return plainText(`${issue.path.join('.')}: ${issue.message}`);
  return plainText(error instanceof Error ? error.message : String(error));
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
export function readPeer(
  name: string,
  subnet: Prefix,
  published: unknown,
  isOnLink: (address: Ipv4) => boolean,
): MeshPeer {
  const { address, clearPort, keys } = readPublished(published);
  return { name, subnet, address, clearPort, isOnLink: isOnLink(address), keys };
}

/** The key that a host is known by: of its latest rotation. */
export function latestKey({ keys }: Pick<MeshPeer, 'keys'>): HostKey | undefined {
  return keys.toSorted((one, other) => other.rotation - one.rotation)[0];
}
