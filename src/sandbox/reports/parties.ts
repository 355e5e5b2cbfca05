import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import { prefixHas } from '../../addr/prefix.ts';
import { type Lease, SLOT_MAX, type Slot } from '../../ipam/lease.ts';
import { leaseOfBridgeAddress, leaseOfSlot } from '../../ipam/lookup.ts';
import type { Store } from '../../ipam/store.ts';
import {
  BRIDGE_MAC,
  bridgeGateway,
  bridgeMac,
  cable,
  hostAddress,
  type Layout,
  ROUTER_MAC,
  SANDBOX_MAC,
} from '../topology/layout.ts';

/** Who an address or a MAC address belongs to. */
export type Party =
  | { readonly kind: 'sandbox'; readonly lease: Lease }
  /** the router, as sandboxes know it */
  | { readonly kind: 'gateway' }
  /** the root namespace, where it meets the router */
  | { readonly kind: 'host' }
  | { readonly kind: 'nobody' };

const GATEWAY: Party = { kind: 'gateway' };
const HOST: Party = { kind: 'host' };
const NOBODY: Party = { kind: 'nobody' };

/** Who is who on this host, as the leases say at the moment of asking. */
export class Parties {
  readonly #store: Store;
  readonly #layout: Layout;

  constructor(store: Store, layout: Layout) {
    this.#store = store;
    this.#layout = layout;
  }

  /** The lease of the slot whose cable has this index on the router's side; undefined for any other link. */
  behindLink(index: number): Lease | undefined {
    return this.#lease(index - cable(0).index);
  }

  /** Whose address it is; those that sandboxes have inside alone, alike in all of them, are nobody's. */
  at(address: Ipv4): Party {
    const { bridgeRange, hostRange, linkRange } = this.#layout;
    if (prefixHas(bridgeRange, address)) {
      if (address === bridgeGateway(this.#layout)) return GATEWAY;
      return party(leaseOfBridgeAddress(this.#store, address));
    }
    if (prefixHas(hostRange, address)) {
      const slot = address - hostRange.address;
      return slot === 0 ? HOST : party(this.#routed(slot));
    }
    if (prefixHas(linkRange, address)) {
      const host = address - linkRange.address;
      return host % 2 === 0 ? GATEWAY : party(this.#routed((host - 1) / 2));
    }
    return NOBODY;
  }

  /** Whose MAC address it is. On the cables of the routed topologies all sandboxes have the same, which names none. */
  withMac(mac: Mac): Party {
    const text = formatMac(mac);
    if (text === formatMac(BRIDGE_MAC) || text === formatMac(ROUTER_MAC)) return GATEWAY;
    const address = new DataView(mac.buffer, mac.byteOffset, mac.length).getUint32(2) as Ipv4;
    return text === formatMac(bridgeMac(address)) ? this.at(address) : NOBODY;
  }

  /** The address that a sandbox may send from on its link, and the MAC address. */
  rightsOf(lease: Lease): { readonly address: Ipv4; readonly mac: Mac } {
    const { topology, slot, bridgeAddress } = lease;
    if (topology === 'bridge' && bridgeAddress !== undefined) {
      return { address: bridgeAddress, mac: bridgeMac(bridgeAddress) };
    }
    const address = topology === 'microvm' ? this.#layout.guest.address : hostAddress(this.#layout, slot);
    return { address, mac: SANDBOX_MAC };
  }

  #routed(slot: number): Lease | undefined {
    const lease = this.#lease(slot);
    return lease?.topology === 'bridge' ? undefined : lease;
  }

  #lease(slot: number): Lease | undefined {
    return slot >= 1 && slot <= SLOT_MAX ? leaseOfSlot(this.#store, slot as Slot) : undefined;
  }
}

function party(lease: Lease | undefined): Party {
  return lease === undefined ? NOBODY : { kind: 'sandbox', lease };
}

/** In words, such as `sandbox b (slot 4)`. */
export function partyText(one: Party): string {
  switch (one.kind) {
    case 'sandbox':
      return leaseText(one.lease);
    case 'gateway':
      return 'the gateway';
    case 'host':
      return 'the host';
    case 'nobody':
      return 'nobody';
  }
}

export function leaseText({ sandboxId, slot }: Lease): string {
  return sandboxId === undefined ? `the warm network of slot ${slot}` : `sandbox ${sandboxId} (slot ${slot})`;
}

/** As an event carries it. */
export function partyData(one: Party): Record<string, unknown> {
  if (one.kind !== 'sandbox') return { kind: one.kind };
  const { sandboxId, slot, generation } = one.lease;
  return { kind: one.kind, slot, generation, ...(sandboxId === undefined ? {} : { sandboxId }) };
}

/** A key that is the same for the same party. */
export function partyKey(one: Party, address: Ipv4): string {
  return one.kind === 'nobody' ? one.kind : `${one.kind} ${formatIpv4(address)}`;
}
