import {
  formatIpPrefix,
  type IpPrefix,
  ipPrefixCovers,
  ipPrefixesOverlap,
  withoutIpPrefixes,
} from '../../addr/ip-prefix.ts';
import { InputError } from '../../errors.ts';
import type { Dns, RoutedConfig, TunnelConfig } from './config.ts';
import { EXCLUDES_MAX, ROUTES_MAX, SPLITS_MAX } from './limits.ts';
import { mtuFault } from './values.ts';

/** What is asked for besides the file; what is absent stays as the file has it. */
export type TunnelOptions = {
  /** what to route, in place of all that peers are allowed to send */
  readonly splitIPs?: readonly IpPrefix[];
  /** what not to route */
  readonly excludes?: readonly IpPrefix[];
  readonly dns?: Dns;
  /** bytes */
  readonly mtu?: number;
};

/**
 * What peers may send stays as it is, in the device: options narrow what is routed to them.
 *
 * @throws InputError `tunnel_options`, with the option
 */
export function withOptions(config: TunnelConfig, options: TunnelOptions = {}): RoutedConfig {
  const { excludes = [], dns = config.dns, mtu = config.mtu } = options;
  refuseMany('excludes', excludes, EXCLUDES_MAX);
  const wanted = wantedRoutes(config, options.splitIPs);
  const routed = distinct(withoutIpPrefixes(wanted, excludes)).toSorted((one, other) => other.length - one.length);
  if (routed.length > ROUTES_MAX) {
    fail('excludes', `Cannot take out what is excluded: it leaves ${routed.length} routes, want at most ${ROUTES_MAX}`);
  }
  if (wanted.length > 0 && routed.length === 0) {
    fail('excludes', 'Cannot take out what is excluded: nothing is left to go through the tunnel');
  }
  const fault = mtu === undefined ? undefined : mtuFault(mtu, [...config.addresses, ...routed]);
  if (fault !== undefined) fail('mtu', `Cannot use this MTU: ${fault}`);
  return { ...config, dns, ...(mtu === undefined ? {} : { mtu }), routed, excluded: distinct(excludes) };
}

function wantedRoutes({ table, peers }: TunnelConfig, splitIPs: readonly IpPrefix[] | undefined): readonly IpPrefix[] {
  const allowed = distinct(peers.flatMap(({ allowedIps }) => allowedIps));
  if (splitIPs === undefined) return table === 'off' ? [] : allowed;
  if (table === 'off') {
    fail(
      'splitIPs',
      'Cannot route some addresses: the config says Table = off, for no routes; leave out one of the two',
    );
  }
  if (splitIPs.length === 0) fail('splitIPs', 'Cannot route some addresses: none is named; name one, or leave it out');
  refuseMany('splitIPs', splitIPs, SPLITS_MAX);
  for (const [index, split] of splitIPs.entries()) {
    // two peers may have the halves of it
    const foreign = outside(split, allowed);
    if (foreign === undefined) continue;
    const name = formatIpPrefix(split);
    const part = formatIpPrefix(foreign) === name ? 'it is' : `${formatIpPrefix(foreign)} of it is`;
    const remedy = 'name less, or add it to the AllowedIPs of a peer';
    fail(`splitIPs[${index}]`, `Cannot route ${name}: ${part} not among what a peer is allowed to send; ${remedy}`);
  }
  return distinct(splitIPs);
}

/** A part of a prefix that is in none of others; undefined where all of it is in them. */
function outside(prefix: IpPrefix, others: readonly IpPrefix[]): IpPrefix | undefined {
  const near = others.filter((other) => ipPrefixesOverlap(prefix, other));
  if (near.length === 0) return prefix;
  if (near.some((other) => ipPrefixCovers(other, prefix))) return undefined;
  const first = { address: prefix.address, length: prefix.length + 1 };
  const [second = first] = withoutIpPrefixes([prefix], [first]);
  return outside(first, near) ?? outside(second, near);
}

function distinct(prefixes: readonly IpPrefix[]): IpPrefix[] {
  return [...new Map(prefixes.map((prefix) => [formatIpPrefix(prefix), prefix])).values()];
}

function refuseMany(field: string, prefixes: readonly IpPrefix[], most: number): void {
  if (prefixes.length > most) fail(field, `Cannot use ${prefixes.length} ${field}: want at most ${most}`);
}

function fail(field: string, message: string): never {
  throw new InputError('tunnel_options', message, { field });
}
