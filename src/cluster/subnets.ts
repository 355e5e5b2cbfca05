import { addIpv4 } from '../addr/ipv4.ts';
import { formatPrefix, type Prefix, prefixHas, prefixSize } from '../addr/prefix.ts';
import { InputError } from '../errors.ts';

/** A cluster's range, cut into units that are claimed one by one; a host's subnet is one of them or several. */
export type Plan = {
  readonly range: Prefix;
  /** prefix length of a unit */
  readonly unit: number;
};

/** Units that a host may have: a transaction claims them all. */
const UNITS_MAX = 8;

/** Bounds of a unit: room for a sandbox, and for no more hosts than a registry can have. */
const UNIT_LENGTH = { min: 12, max: 29 } as const;
const COUNT_MAX = 65_536;

/** @throws InputError `invalid_range` */
export function assertPlan({ range, unit }: Plan): void {
  const refuse = (why: string): never => {
    throw new InputError('invalid_range', `Cannot cut ${formatPrefix(range)} into subnets of /${unit}: ${why}`);
  };
  if (unit < UNIT_LENGTH.min || unit > UNIT_LENGTH.max) refuse(`want ${UNIT_LENGTH.min} to ${UNIT_LENGTH.max}`);
  if (unit < range.length) refuse('the range is smaller');
  if (unitCount({ range, unit }) > COUNT_MAX) refuse(`there would be more than ${COUNT_MAX}`);
}

export function unitCount({ range, unit }: Plan): number {
  return 2 ** (unit - range.length);
}

/** How many units a subnet of this prefix length takes. @throws InputError `invalid_subnet_size` */
export function unitsOf({ range, unit }: Plan, length: number): number {
  const units = 2 ** (unit - length);
  if (length <= unit && length >= range.length && units <= UNITS_MAX) return units;
  const least = Math.max(range.length, unit - Math.log2(UNITS_MAX));
  throw new InputError(
    'invalid_subnet_size',
    `Cannot claim a subnet of /${length}: the cluster ${formatPrefix(range)} has units of /${unit}, want /${least} to /${unit}`,
  );
}

/** @param first index of its first unit, a multiple of their number */
export function subnetAt({ range, unit }: Plan, first: number, units: number): Prefix {
  const length = unit - Math.log2(units);
  return { address: addIpv4(range.address, first * 2 ** (32 - unit)), length };
}

/** The index of a subnet's first unit. @throws InputError `invalid_range` where it is not of the range */
export function firstUnit({ range, unit }: Plan, subnet: Prefix): number {
  if (prefixHas(range, subnet.address) && subnet.length >= range.length && subnet.length <= unit) {
    return (subnet.address - range.address) / prefixSize({ address: subnet.address, length: unit });
  }
  const message = `Cannot use ${formatPrefix(subnet)} in the cluster ${formatPrefix(range)}: it is no subnet of /${unit} or more of it`;
  throw new InputError('invalid_range', message);
}

/** The indexes of a subnet's units. @throws InputError `invalid_subnet_size`; `invalid_range` where it is not of the range */
export function unitsIn(plan: Plan, subnet: Prefix): number[] {
  const units = unitsOf(plan, subnet.length);
  const first = firstUnit(plan, subnet);
  return Array.from({ length: units }, (_, index) => first + index);
}

/**
 * The first units of subnets to try, `limit` of them and each once: from a place that is the host's own on, so that a
 * thousand that join at once do not all want the same.
 */
export function* candidates(plan: Plan, units: number, seed: string, limit: number): Generator<number> {
  const count = unitCount(plan) / units;
  const start = hashOf(seed);
  // Odd, so that it meets every one of a power of two.
  const step = (hashOf(`${seed} step`) | 1) >>> 0;
  for (let index = 0; index < Math.min(limit, count); index++)
    yield ((((start + index * step) % count) + count) % count) * units;
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
