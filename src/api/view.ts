import { formatIpv4 } from '../addr/ipv4.ts';
import { formatMac } from '../addr/mac.ts';
import { formatPrefix } from '../addr/prefix.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { SandboxResource } from './schema.ts';

/** A sandbox as JSON has it. */
export function sandboxView({ policy, ...sandbox }: Sandbox): SandboxResource {
  const { id, generation, slot, topology, state, netns, mtu, rates } = sandbox;
  return {
    id,
    generation,
    slot,
    topology,
    state,
    netns,
    hostAddress: formatIpv4(sandbox.hostAddress),
    guestAddress: formatIpv4(sandbox.guestAddress),
    gateway: formatIpv4(sandbox.gateway),
    dns: formatIpv4(sandbox.dns),
    mac: formatMac(sandbox.mac),
    ...(sandbox.tap === undefined ? {} : { tap: sandbox.tap }),
    mtu,
    rates,
    policy: { egress: policy.egress, allow: policy.allow.map(formatPrefix), deny: policy.deny.map(formatPrefix) },
    ...(sandbox.group === undefined ? {} : { group: sandbox.group }),
    ...(sandbox.via === undefined ? {} : { via: sandbox.via.tunnel }),
  };
}
