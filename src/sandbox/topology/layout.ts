import { addIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { type Mac, parseMac } from '../../addr/mac.ts';
import { type Prefix, parsePrefix } from '../../addr/prefix.ts';
import type { Link, NamespaceName } from '../../plan/state.ts';

/** What all sandboxes of a host share; every address, name and index of one derives from this and its slot. */
export type Layout = {
  /** Slot i is reached at the i-th address of this range, whatever its topology is inside. */
  readonly hostRange: Prefix;
  /** Slot i's cable takes the addresses 2i (router) and 2i + 1 (sandbox). */
  readonly linkRange: Prefix;
  readonly bridgeRange: Prefix;
  /**
   * bytes, of every link: the uplink's less the room that a tunnel header needs, or what a cluster has agreed on. It may
   * change while the daemon runs (see `Core.steer`), so that nobody keeps a copy.
   */
  mtu: number;
  readonly guest: { readonly address: Ipv4; readonly mac: Mac };
  readonly tap: { readonly address: Ipv4; readonly length: number; readonly mac: Mac; readonly transmitQueue: number };
};

export const DEFAULT_LAYOUT: Omit<Layout, 'mtu'> = {
  hostRange: parsePrefix('10.11.0.0/16'),
  linkRange: parsePrefix('10.12.0.0/16'),
  bridgeRange: parsePrefix('10.8.64.0/24'),
  guest: { address: parseIpv4('169.254.0.21'), mac: parseMac('02:fc:00:00:00:06') },
  tap: { address: parseIpv4('169.254.0.22'), length: 30, mac: parseMac('02:fc:00:00:00:05'), transmitQueue: 5000 },
};

/** All that sandboxes and their cables take addresses from. */
export function sandboxRanges({ hostRange, linkRange, bridgeRange }: Layout): Prefix[] {
  return [hostRange, linkRange, bridgeRange];
}

/** Inside a sandbox every name and index is the same, so a snapshot taken in one network resumes in another. */
export const ETH0: Link = { name: 'eth0', index: 2 };
export const TAP0: Link = { name: 'tap0', index: 3 };
export const BRIDGE: Link = { name: 'rt0', index: 9_999 };

/** The two ends of every routed cable: it joins two parties only, so the addresses need not differ between cables. */
export const ROUTER_MAC = parseMac('02:cf:00:00:00:01');
export const SANDBOX_MAC = parseMac('02:cf:00:00:00:02');
export const BRIDGE_MAC = parseMac('02:cb:00:00:00:01');

/** Router-side indexes start here; below it the kernel numbers what it makes by itself. */
const FIRST_CABLE_INDEX = 10_000;

export function sandboxNamespace(slot: number): NamespaceName {
  return `s${slot}`;
}

export function isSandboxNamespace(name: NamespaceName): boolean {
  return /^s[1-9][0-9]*$/.test(name);
}

/** The router's end of a slot's cable. */
export function cable(slot: number): Link {
  return { name: `s${slot}`, index: FIRST_CABLE_INDEX + slot };
}

export function hostAddress(layout: Layout, slot: number): Ipv4 {
  return addIpv4(layout.hostRange.address, slot);
}

export function routerAddress(layout: Layout, slot: number): Ipv4 {
  return addIpv4(layout.linkRange.address, 2 * slot);
}

export function sandboxAddress(layout: Layout, slot: number): Ipv4 {
  return addIpv4(layout.linkRange.address, 2 * slot + 1);
}

/** Where sandboxes ask for names: slot 0 is nobody's, and the range is the router's own, so this is an address of it. */
export function resolverAddress(layout: Layout): Ipv4 {
  return sandboxAddress(layout, 0);
}

export function bridgeGateway(layout: Layout): Ipv4 {
  return addIpv4(layout.bridgeRange.address, 1);
}

/** On a bridge frames do meet: the address makes the MAC unique, so that a MAC seen in a capture names its owner. */
export function bridgeMac(address: Ipv4): Mac {
  return Uint8Array.of(2, 0xcb, address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255) as Mac;
}
