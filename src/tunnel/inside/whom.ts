import { type Ip, isIpv6, parseIp } from '../../addr/ip.ts';
import { type IpPrefix, ipPrefixAround, ipPrefixCovers, ipPrefixHas } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Ipv6 } from '../../addr/ipv6.ts';
import type { PeerConfig, TunnelConfig } from '../config/config.ts';

/** Who may answer inside a tunnel. */
export type Whom = {
  readonly address: Ip;
  /** whether the packet may go no further than the peer itself, which then says so, whoever has the address */
  readonly isNext: boolean;
};

/** At the most: all of them are asked at once. */
const WHOM_MAX = 6;

/** Addresses that nobody has (RFC 5737, RFC 3849). */
const NOBODY: readonly Ip[] = [parseIp('192.0.2.1'), parseIp('2001:db8::1')];

/**
 * Whom to ask to see whether packets pass to a peer and back. WireGuard itself answers to nothing but handshakes, and a
 * config does not say who is behind it. So these are asked, the likeliest first: name servers that are reached by it,
 * hosts that it is allowed by address, the first address of the tunnel's own network and of those that are behind it; and
 * the peer itself as whoever passes packets on, which tells that one has come as far as it may.
 */
export function whomToAsk({ addresses, dns }: TunnelConfig, { allowedIps }: PeerConfig): Whom[] {
  const isReached = (address: Ip): boolean =>
    addresses.some((own) => isIpv6(own.address) === isIpv6(address)) &&
    !addresses.some((own) => own.address === address) &&
    allowedIps.some((prefix) => ipPrefixHas(prefix, address));
  const own = addresses.map(({ address, length }) => ipPrefixAround(address, length)).filter((one) => !isHost(one));
  const behind = allowedIps.filter((prefix) => prefix.length > 0 && !isHost(prefix));
  const guesses = [
    ...dns.servers,
    ...allowedIps.filter(isHost).map(({ address }) => address),
    ...[...own, ...behind].map(firstOf),
  ];
  const hosts = [...new Set(guesses.filter(isReached))].slice(0, WHOM_MAX - 1);
  const far =
    NOBODY.find(isReached) ??
    behind
      .filter((prefix) => !own.some((one) => ipPrefixCovers(one, prefix)))
      .map(lastOf)
      .find(isReached);
  return [
    ...hosts.map((address) => ({ address, isNext: false })),
    ...(far === undefined ? [] : [{ address: far, isNext: true }]),
  ];
}

function isHost({ address, length }: IpPrefix): boolean {
  return length === (isIpv6(address) ? 128 : 32);
}

function firstOf({ address }: IpPrefix): Ip {
  return isIpv6(address) ? ((address | 1n) as Ipv6) : (((address | 1) >>> 0) as Ipv4);
}

/** But for the one that means all of them. */
function lastOf({ address, length }: IpPrefix): Ip {
  if (isIpv6(address)) return (address | ((1n << BigInt(128 - length)) - 2n)) as Ipv6;
  return (address + 2 ** (32 - length) - 2) as Ipv4;
}
