import type { z } from 'zod';
import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import {
  firstAddress,
  formatPrefix,
  lastAddress,
  type Prefix,
  parsePrefix,
  prefixAround,
  prefixesOverlap,
  prefixHas,
  prefixSize,
} from '../../addr/prefix.ts';
import { InputError } from '../../errors.ts';
import { SLOT_MAX } from '../../ipam/lease.ts';
import type { Layout } from '../../sandbox/topology/layout.ts';
import { inputError } from '../../schema/issue.ts';
import { configSchema } from './schema.ts';

type Parsed = z.output<typeof configSchema>;

/** All that a daemon is told when it starts, with what was not said filled in and everything checked against the rest. */
export type Config = Omit<Parsed, 'limits'> & {
  readonly limits: Omit<Parsed['limits'], 'sandboxes'> & { readonly sandboxes: number };
};

/** Where no sandbox may be: on these every host has other business. */
const RESERVED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'].map((text) =>
  parsePrefix(text),
);

/** A bridge holds 1,023 ports (BR_MAX_PORTS, net/bridge/br_private.h): more than a /20 is a mistake. */
const BRIDGE_LENGTHS = { min: 20, max: 29 };

/**
 * Reads a config as it stands in JSON or YAML: unknown keys, wrong types and parts that do not go together are
 * refused. What the machine has to say about it (its routes, its uplink) is not asked here. Pure.
 *
 * @throws InputError `invalid_config`, or the code of the value that cannot be read; `field` is the key's path
 */
export function parseConfig(input: unknown): Config {
  const result = configSchema.safeParse(input);
  if (!result.success) throw inputError(result.error, 'invalid_config', 'the config');
  const { ranges, topology, limits } = result.data;
  checkRanges(ranges);
  checkTap(topology.microvm, ranges);
  return { ...result.data, limits: { ...limits, sandboxes: checkSandboxes(limits.sandboxes, ranges) } };
}

/**
 * The same with another range for the host's sandboxes, and no more of them than it holds.
 *
 * @throws InputError `invalid_config` where it does not go with the other ranges
 */
export function withHostRange(config: Config, host: Prefix): Config {
  const ranges = { ...config.ranges, host };
  checkRanges(ranges);
  const sandboxes = Math.min(config.limits.sandboxes, checkSandboxes(undefined, ranges));
  return { ...config, ranges, limits: { ...config.limits, sandboxes } };
}

/**
 * What the config says about the shape of every network.
 *
 * @param mtu bytes, of every link
 */
export function layoutOf({ ranges, topology }: Config, mtu: number): Layout {
  const { guest, tap } = topology.microvm;
  const { address, length } = tap.address;
  return {
    hostRange: ranges.host,
    linkRange: ranges.link,
    bridgeRange: ranges.bridge,
    mtu,
    guest,
    tap: { address, length, mac: tap.mac, transmitQueue: tap.transmitQueue },
  };
}

function checkRanges(ranges: Parsed['ranges']): void {
  const named = Object.entries(ranges).map(([key, range]) => ({ field: `ranges.${key}`, range }));
  for (const [index, { field, range }] of named.entries()) {
    const earlier = named.slice(0, index).find((other) => prefixesOverlap(other.range, range));
    if (earlier !== undefined) {
      const both = `${earlier.field} is ${formatPrefix(earlier.range)}`;
      throw invalid(field, `Cannot use ${formatPrefix(range)} as ${field}: it overlaps what ${both}`);
    }
    const reserved = RESERVED.find((other) => prefixesOverlap(other, range));
    if (reserved !== undefined) {
      throw invalid(field, `Cannot use ${formatPrefix(range)} as ${field}: ${formatPrefix(reserved)} is reserved`);
    }
  }
  const { length } = ranges.bridge;
  if (length < BRIDGE_LENGTHS.min || length > BRIDGE_LENGTHS.max) {
    const want = `want a length of ${BRIDGE_LENGTHS.min} to ${BRIDGE_LENGTHS.max}`;
    throw invalid('ranges.bridge', `Cannot use ${formatPrefix(ranges.bridge)} as ranges.bridge: ${want}`);
  }
}

/** Guest and TAP speak to each other without a router, so both must be hosts of one network. */
function checkTap({ guest, tap }: Parsed['topology']['microvm'], ranges: Parsed['ranges']): void {
  const { address, length } = tap.address;
  const text = `${formatIpv4(address)}/${length}`;
  const network = prefixAround(address, length);
  const isHost = (it: Ipv4): boolean =>
    prefixHas(network, it) && it !== firstAddress(network) && it !== lastAddress(network);
  const tapField = 'topology.microvm.tap.address';
  if (!isHost(address)) throw invalid(tapField, `Cannot use ${text} as ${tapField}: it is not a host of its network`);
  for (const [key, range] of Object.entries(ranges)) {
    if (!prefixesOverlap(range, network)) continue;
    const found = `its network overlaps ranges.${key}, ${formatPrefix(range)}`;
    throw invalid(tapField, `Cannot use ${text} as ${tapField}: ${found}`);
  }
  if (!isHost(guest.address) || guest.address === address) {
    const field = 'topology.microvm.guest.address';
    const want = `want another host of the TAP’s network, ${text}`;
    throw invalid(field, `Cannot use ${formatIpv4(guest.address)} as ${field}: ${want}`);
  }
}

/**
 * Slot 0 is never used; slot i takes the i-th address of one range and the pair 2i, 2i + 1 of another. The last address of
 * the one is the host's own among others.
 */
function checkSandboxes(wanted: number | undefined, { host, link }: Parsed['ranges']): number {
  const room = Math.min(prefixSize(host) - 2, prefixSize(link) / 2 - 1, SLOT_MAX);
  if (room < 1) {
    const field = prefixSize(host) < 3 ? 'ranges.host' : 'ranges.link';
    const range = formatPrefix(prefixSize(host) < 3 ? host : link);
    throw invalid(field, `Cannot use ${range} as ${field}: there is no room for a sandbox in it`);
  }
  if (wanted !== undefined && wanted > room) {
    const found = `ranges.host ${formatPrefix(host)} and ranges.link ${formatPrefix(link)} hold ${room}`;
    throw invalid('limits.sandboxes', `Cannot have ${wanted} sandboxes: ${found}`);
  }
  return wanted ?? room;
}

function invalid(field: string, message: string): InputError {
  return new InputError('invalid_config', message, { field });
}
