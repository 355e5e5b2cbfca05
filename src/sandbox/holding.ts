import type { Ipv4 } from '../addr/ipv4.ts';
import { CulvertError } from '../errors.ts';
import type { Lease, LeaseKey, LeaseState, SandboxId, Topology } from '../ipam/lease.ts';
import type { OwnMember } from './groups.ts';
import type { Pass } from './pass.ts';
import type { Sandbox, Specification } from './sandbox.ts';
import { parseSpecification } from './specification.ts';
import {
  bridgeGateway,
  bridgeMac,
  hostAddress,
  type Layout,
  resolverAddress,
  routerAddress,
  SANDBOX_MAC,
  sandboxNamespace,
  TAP0,
} from './topology/layout.ts';
import type { Network } from './topology/network.ts';
import { groupVia, ownVia } from './via.ts';

/** A lease that has, or is to have, a network in the kernel. Without an owner it belongs to the warm pool. */
export type Holding = {
  readonly key: LeaseKey;
  readonly topology: Topology;
  readonly state: LeaseState;
  readonly bridgeAddress: Ipv4 | undefined;
  readonly owner: { readonly id: SandboxId; readonly specification: Specification } | undefined;
};

export type Owned = Holding & { readonly owner: NonNullable<Holding['owner']> };

export function isOwned(holding: Holding): holding is Owned {
  return holding.owner !== undefined;
}

/** @throws CulvertError `specification_unreadable` */
export function holdingOf(lease: Lease): Holding {
  const { slot, generation, topology, state, bridgeAddress, sandboxId, specification } = lease;
  const owner =
    sandboxId === undefined || specification === undefined
      ? undefined
      : { id: sandboxId, specification: parseSpecification(specification) };
  return { key: { slot, generation }, topology, state, bridgeAddress, owner };
}

/** The network of a holding; a warm one has no limits yet. */
export function networkOf({ key, topology, bridgeAddress, owner }: Holding): Network {
  const rates = owner?.specification.rates ?? {};
  const way = owner === undefined || ownVia(owner.specification) === undefined ? {} : { hasTunnel: true as const };
  if (topology !== 'bridge') return { topology, slot: key.slot, rates, ...way };
  if (bridgeAddress === undefined) {
    throw new CulvertError(
      'lease_incomplete',
      `Cannot describe the network of slot ${key.slot}: it has no bridge address`,
    );
  }
  return { topology, slot: key.slot, rates, ...way, address: bridgeAddress };
}

export function passOf(holding: Owned): Pass {
  const { id, specification } = holding.owner;
  const via = groupVia(specification);
  return {
    network: networkOf(holding),
    policy: specification.policy,
    ...(specification.group === undefined ? {} : { group: specification.group }),
    ...(via === undefined ? {} : { via }),
    owner: `${id} generation ${holding.key.generation}`,
  };
}

/** @param isGone where it is in no group any more, whatever its specification says */
export function memberOf(holding: Owned, layout: Layout, isGone = false): OwnMember {
  const { key, owner } = holding;
  const { group } = owner.specification;
  const member = { id: owner.id, generation: key.generation, address: outsideAddress(holding, layout) };
  return isGone || group === undefined ? member : { ...member, group };
}

/** What the address is that conntrack and everybody outside knows the slot by. */
export function outsideAddress({ key, bridgeAddress }: Holding, layout: Layout): Ipv4 {
  return bridgeAddress ?? hostAddress(layout, key.slot);
}

/** @param pin from a namespace's name to the path of its pin */
export function sandboxOf(holding: Owned, layout: Layout, pin: (namespace: string) => string): Sandbox {
  const { key, owner, state } = holding;
  const { slot, generation } = key;
  const common = {
    id: owner.id,
    ...owner.specification,
    slot,
    generation,
    state,
    netns: pin(sandboxNamespace(slot)),
    dns: resolverAddress(layout),
    mtu: layout.mtu,
  };
  const network = networkOf(holding);
  switch (network.topology) {
    case 'microvm':
      return {
        ...common,
        hostAddress: hostAddress(layout, slot),
        guestAddress: layout.guest.address,
        gateway: layout.tap.address,
        mac: layout.guest.mac,
        tap: TAP0.name,
      };
    case 'netns':
      return {
        ...common,
        hostAddress: hostAddress(layout, slot),
        guestAddress: hostAddress(layout, slot),
        gateway: routerAddress(layout, slot),
        mac: SANDBOX_MAC,
      };
    case 'bridge':
      return {
        ...common,
        hostAddress: network.address,
        guestAddress: network.address,
        gateway: bridgeGateway(layout),
        mac: bridgeMac(network.address),
      };
  }
}

/** Whether a lease has a network, or is to have one. */
export function isBuilt({ state }: Holding): boolean {
  return state === 'creating' || state === 'warm' || state === 'ready';
}

/** Whom an event is about. */
export function subjectOf({ key, owner }: Holding): LeaseKey & { readonly sandboxId?: SandboxId } {
  return { slot: key.slot, generation: key.generation, ...(owner === undefined ? {} : { sandboxId: owner.id }) };
}
