import type { NamedSet, Table } from '../../plan/ruleset.ts';

/** The router namespace's tables: what it forwards, and what its bridge's ports may send. */
export const ROUTER_TABLE: Table = { family: 'inet', name: 'culvert' };
export const BRIDGE_TABLE: Table = { family: 'bridge', name: 'culvert' };

/** The root namespace's table; each daemon on a host has an instance of its own. */
export function rootTable(instance: string): Table {
  return { family: 'inet', name: `culvert-${instance}` };
}

/** Names of all router-side ends of sandboxes' links, and of none else. */
export const SANDBOX_LINKS = 's*';

/** The same of the links that lead to other hosts. */
export const MESH_LINKS = 'w*';

/** The same of the links of groups' tunnels. */
export const VIA_LINKS = 'via-*';

/** The slots of a host, the most that it has sandboxes. */
const MAX_SANDBOXES = 32_767;
/** On other hosts, of all groups that this one has a part in. */
export const FAR_MEMBERS_MAX = 262_144;
/** What a bridge has ports, BR_MAX_PORTS in net/bridge/br_private.h. */
const MAX_PORTS = 1023;
/** Distinct egress policies in use at one time. */
const MAX_POLICIES = 32_767;
/** Pairs of a sandbox and an address of the host, of all sandboxes together. */
const MAX_HOST_ACCESS = 65_536;
/** The ends of the intervals that a policy of 64 allowed and 64 denied prefixes over the base ones can have. */
const MAX_INTERVAL_ENDS = 1024;

/** Link that a packet comes in on and the source it bears → its policy and the address it is to bear outside. */
export const OUTBOUND: NamedSet = {
  name: 'outbound',
  key: ['iface_index', 'ipv4_addr'],
  data: ['mark', 'ipv4_addr'],
  size: MAX_SANDBOXES,
};

/** Link that a packet goes out on and the destination it bears → the address that the sandbox has inside. */
export const INBOUND: NamedSet = {
  name: 'inbound',
  key: ['iface_index', 'ipv4_addr'],
  data: ['ipv4_addr'],
  size: MAX_SANDBOXES,
};

/**
 * Link of a sandbox, found for packets beyond what it may send; in the router's table and in its bridge's. Here the
 * sandbox cannot reach it, as it could what shapes its own end.
 */
export const TRANSMIT_LIMITS: NamedSet = { name: 'transmit_limits', key: ['iface_index'], size: MAX_SANDBOXES };

/** Policy → the chain that decides. */
export const POLICIES: NamedSet = { name: 'policies', key: ['mark'], data: 'verdict', size: MAX_POLICIES };

/** Address of a sandbox here that is in a group → the number that this host has for the group. */
export const GROUPS: NamedSet = { name: 'groups', key: ['ipv4_addr'], data: ['mark'], size: MAX_SANDBOXES };

/** The same the other way about: an address, and the group that whoever has it is in. */
export const MEMBERS: NamedSet = { name: 'members', key: ['ipv4_addr', 'mark'], size: MAX_SANDBOXES };

/** The two for sandboxes of other hosts. */
export const FAR_GROUPS: NamedSet = { ...GROUPS, name: 'far_groups', size: FAR_MEMBERS_MAX };
export const FAR_MEMBERS: NamedSet = { ...MEMBERS, name: 'far_members', size: FAR_MEMBERS_MAX };

/** How long a sender of which nothing more is stopped keeps its limit: longer than its burst takes to come back. */
const SENDER_EXPIRES_MS = 10_000;
/** Senders of which something was stopped in that time; more than all of them together may have reported. */
const MAX_SENDERS = 8192;

/**
 * Senders of stopped packets, each with a limit of its own on reports, by what they cannot forge: the link where the
 * source is false, and the source where it was found right, as many share the link of the bridge.
 */
export const SPOOFERS: NamedSet = {
  name: 'spoofers',
  key: ['iface_index'],
  expiresMs: SENDER_EXPIRES_MS,
  size: MAX_SENDERS,
};
export const DENIED_PORTS: NamedSet = { ...SPOOFERS, name: 'denied_ports' };
export const DENIED_SENDERS: NamedSet = {
  name: 'denied_senders',
  key: ['ipv4_addr'],
  expiresMs: SENDER_EXPIRES_MS,
  size: MAX_SENDERS,
};

/** Sandboxes that ask for names, each with a limit of its own. */
export const ASKERS: NamedSet = {
  name: 'askers',
  key: ['ipv4_addr'],
  expiresMs: SENDER_EXPIRES_MS,
  size: MAX_SANDBOXES,
};

/** Senders, with the flows that they have opened. */
export const FLOWS: NamedSet = { name: 'flows', key: ['ipv4_addr'], counting: true, size: MAX_SANDBOXES };

/** Port, and the addresses that are bound to it. */
export const PORTS: NamedSet = { name: 'ports', key: ['iface_index', 'ether_addr', 'ipv4_addr'], size: MAX_PORTS };

/** A sandbox's address and one of the host's that it may open connections to; in the root namespace's table. */
export const HOST_ACCESS: NamedSet = { name: 'host_access', key: ['ipv4_addr', 'ipv4_addr'], size: MAX_HOST_ACCESS };

/** What a policy accepts. */
export function acceptedSet(policy: number): NamedSet {
  return { name: policyChain(policy), key: ['ipv4_addr'], interval: true, size: MAX_INTERVAL_ENDS };
}

export function policyChain(policy: number): string {
  return `egress-${policy}`;
}

/** Destination unreachable, time exceeded, parameter problem (RFC 792): those that quote a packet and are forwarded. */
export const ICMP_ERRORS: NamedSet = { name: 'icmp_errors', key: ['icmp_type'], size: 3 };
export const ICMP_ERROR_TYPES = [3, 11, 12];
