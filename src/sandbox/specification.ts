import { formatPrefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import { TOPOLOGIES } from '../ipam/lease.ts';
import { parseGroupName } from './group.ts';
import { type EgressPolicy, parsePolicy } from './policy/policy.ts';
import type { Specification } from './sandbox.ts';
import type { Rate, Rates } from './topology/network.ts';
import type { Via } from './via.ts';

type Plain = {
  readonly topology: string;
  readonly rates: { readonly transmit?: Rate; readonly receive?: Rate };
  readonly policy: { readonly egress: string; readonly allow: string[]; readonly deny: string[] };
  readonly group?: string;
  readonly via?: Via;
};

/** A specification as it stands in its lease. */
export function specificationText(specification: Specification): string {
  return JSON.stringify(plain(specification));
}

/** Of 10,000 leases that are adopted most say the same. */
const MAX_REMEMBERED = 1024;
const remembered = new Map<string, Specification>();

/** @throws CulvertError `specification_unreadable`: the text is another version's, or was changed by hand */
export function parseSpecification(text: string): Specification {
  let specification = remembered.get(text);
  if (specification === undefined) {
    specification = read(text);
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(text, specification);
  }
  return specification;
}

function read(text: string): Specification {
  try {
    const { topology, rates, policy, group, via } = JSON.parse(text) as Plain;
    const known = TOPOLOGIES.find((name) => name === topology);
    if (known === undefined) throw new TypeError(`unknown topology ${JSON.stringify(topology)}`);
    return {
      topology: known,
      rates: ratesOf(rates),
      policy: parsePolicy(policy),
      ...(group === undefined ? {} : { group: parseGroupName(group) }),
      ...(via === undefined ? {} : { via: { tunnel: via.tunnel, number: via.number } }),
    };
  } catch (cause) {
    throw new CulvertError('specification_unreadable', `Cannot read the specification of a lease: ${text}`, { cause });
  }
}

/** The fields in which two specifications differ, as `rates.transmit 100/100 instead of none`; empty where in none. */
export function differences(asked: Specification, found: Specification): string[] {
  const left = flat(asked);
  const right = flat(found);
  return Object.keys(left)
    .filter((name) => left[name] !== right[name])
    .map((name) => `${name} ${left[name]} instead of ${right[name]}`);
}

function flat({ topology, rates, policy, group, via }: Specification): Record<string, string> {
  const { egress, allow, deny } = plainPolicy(policy);
  return {
    topology,
    'rates.transmit': rateText(rates.transmit),
    'rates.receive': rateText(rates.receive),
    'policy.egress': egress,
    'policy.allow': `[${allow.join(' ')}]`,
    'policy.deny': `[${deny.join(' ')}]`,
    group: group ?? 'none',
    via: via?.tunnel ?? 'none',
  };
}

function rateText(rate: Rate | undefined): string {
  return rate === undefined ? 'none' : `${rate.rate} B/s burst ${rate.burst} B`;
}

function plain({ topology, rates, policy, group, via }: Specification): Plain {
  const alone = { topology, rates: ratesOf(rates), policy: plainPolicy(policy) };
  return {
    ...alone,
    ...(group === undefined ? {} : { group }),
    ...(via === undefined ? {} : { via: { tunnel: via.tunnel, number: via.number } }),
  };
}

function plainPolicy({ egress, allow, deny }: EgressPolicy): Plain['policy'] {
  return { egress, allow: allow.map(formatPrefix), deny: deny.map(formatPrefix) };
}

/** Only the fields that are known, in one order. */
function ratesOf({ transmit, receive }: Plain['rates']): Rates {
  return {
    ...(transmit === undefined ? {} : { transmit: { rate: transmit.rate, burst: transmit.burst } }),
    ...(receive === undefined ? {} : { receive: { rate: receive.rate, burst: receive.burst } }),
  };
}
