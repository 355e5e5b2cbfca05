import { type Prefix, parsePrefix } from '../../addr/prefix.ts';

export type SpecialPurpose = { readonly prefix: Prefix; readonly name: string; readonly rfc: number };

/**
 * IPv4 prefixes that are not public: those of the IANA special-purpose registry (RFC 6890, RFC 8190) that are not
 * marked globally reachable, and multicast, which has a registry of its own. Sorted and disjoint.
 *
 * Only the outermost prefix of a nest is listed, so that a prefix that is allowed as a whole opens as a whole. With
 * 192.0.0.0/24 go its two anycast addresses that are reachable (192.0.0.9, 192.0.0.10): a base entry that accepts
 * would outlive a shorter prefix that the user denies.
 */
export const SPECIAL_PURPOSE: readonly SpecialPurpose[] = [
  special('0.0.0.0/8', 'this network', 791),
  special('10.0.0.0/8', 'private use', 1918),
  special('100.64.0.0/10', 'shared address space', 6598),
  special('127.0.0.0/8', 'loopback', 1122),
  special('169.254.0.0/16', 'link local', 3927),
  special('172.16.0.0/12', 'private use', 1918),
  special('192.0.0.0/24', 'IETF protocol assignments', 6890),
  special('192.0.2.0/24', 'TEST-NET-1', 5737),
  special('192.88.99.0/24', 'deprecated 6to4 relay anycast', 7526),
  special('192.168.0.0/16', 'private use', 1918),
  special('198.18.0.0/15', 'benchmarking', 2544),
  special('198.51.100.0/24', 'TEST-NET-2', 5737),
  special('203.0.113.0/24', 'TEST-NET-3', 5737),
  special('224.0.0.0/4', 'multicast', 5771),
  special('240.0.0.0/4', 'reserved, with limited broadcast', 1112),
];

function special(text: string, name: string, rfc: number): SpecialPurpose {
  return { prefix: parsePrefix(text), name, rfc };
}
