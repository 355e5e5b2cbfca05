import { InputError } from '../errors.ts';
import { assertGroup } from './group.ts';
import { policyOver } from './policy/policy.ts';
import { rateWith } from './rate.ts';
import type { RateChange, RatesChange, SandboxChange } from './request.ts';
import type { Specification } from './sandbox.ts';
import type { Rate, Rates } from './topology/network.ts';
import { assertVia } from './via.ts';

/**
 * Lays a change over what a sandbox has, as a merge patch does (RFC 7396): what is absent stays, and null takes away.
 *
 * @throws InputError `invalid_rate` where what comes out is no rate, `group_topology`, `via_policy`, `via_rates`; `field` is a path in the change
 */
export function changedBy(former: Specification, change: SandboxChange): Specification {
  const { topology, rates, policy, via } = former;
  const { group = former.group } = change;
  if (group !== null) assertGroup(topology, group);
  const changed: Specification = {
    topology,
    rates: change.rates === undefined ? rates : ratesOver(rates, change.rates),
    policy: change.policy === undefined ? policy : policyOver(policy, change.policy),
    ...(group === undefined || group === null ? {} : { group }),
    ...(via === undefined ? {} : { via }),
  };
  assertVia(changed);
  return changed;
}

function ratesOver(base: Rates, change: RatesChange | null): Rates {
  if (change === null) return {};
  const transmit = rateOver(base.transmit, change.transmit, 'rates.transmit');
  const receive = rateOver(base.receive, change.receive, 'rates.receive');
  return { ...(transmit && { transmit }), ...(receive && { receive }) };
}

function rateOver(base: Rate | undefined, change: RateChange | null | undefined, field: string): Rate | undefined {
  if (change === undefined) return base;
  if (change === null) return undefined;
  const { rate = base?.rate, burst = base?.burst } = change;
  if (rate !== undefined) return rateWith(rate, burst, `${field}.burst`);
  if (change.burst === undefined) return undefined;
  const message = `Cannot set ${field}.burst: there is no limit that it could be of; give a rate too`;
  throw new InputError('invalid_rate', message, { field: `${field}.rate` });
}
