import { ipv4Bytes, parseIpv4 } from '../../addr/ipv4.ts';
import { type Mac, parseMac } from '../../addr/mac.ts';
import type { Prefix } from '../../addr/prefix.ts';
import { type KernelObject, type Link, ROOT, ROUTER } from '../../plan/state.ts';
import { meshAddress } from '../address.ts';
import { CLEAR_VNI, clearLink, DIRECT_PRIORITY, directCable, directLink, directTable } from '../link.ts';
import type { ClearOptions } from './options.ts';
import type { ClearPeer } from './peer.ts';

type Kind<K extends KernelObject['kind']> = Extract<KernelObject, { kind: K }>;

/** The two ends of the cable for what goes unwrapped: the root's, and the router's. */
const CABLE_MAC = parseMac('02:cf:00:00:00:05');
const ROUTER_MAC = parseMac('02:cf:00:00:00:06');
/** What the root namespace calls the router on that cable; link-local (RFC 3927), and nobody's address. */
const ROUTER_END = parseIpv4('169.254.77.1');

/** Of a host on the VXLAN. */
function meshMac(subnet: Prefix): Mac {
  return Uint8Array.of(0x02, 0xcd, ...ipv4Bytes(meshAddress(subnet))) as Mac;
}

/** What there is before there is a peer, and stays the same with thousands. */
export function clearObjects(options: ClearOptions): KernelObject[] {
  const { instance, subnet, port, mtu, uplink } = options;
  const vxlan: KernelObject = {
    kind: 'vxlan',
    outside: ROOT,
    namespace: ROUTER,
    link: clearLink(instance),
    mac: meshMac(subnet),
    mtu,
    up: true,
    vni: CLEAR_VNI,
    port,
  };
  return uplink === undefined ? [vxlan] : [vxlan, ...directObjects(options, uplink)];
}

function directObjects({ instance, subnet, range, mtu }: ClearOptions, uplink: string): KernelObject[] {
  const cable = directCable(instance);
  const table = directTable(instance);
  const rule = { kind: 'rule', namespace: ROOT, priority: DIRECT_PRIORITY } as const;
  return [
    { ...rule, iif: cable.name, table },
    { ...rule, iif: cable.name, priority: DIRECT_PRIORITY + 1 },
    { ...rule, iif: uplink, from: range, to: subnet, table },
    {
      kind: 'veth',
      peer: { namespace: ROUTER, link: directLink(instance), mac: ROUTER_MAC, mtu, up: true },
      namespace: ROOT,
      link: cable,
      mac: CABLE_MAC,
      mtu,
      up: true,
    },
    { kind: 'forwarding', namespace: ROOT, link: cable },
    { kind: 'neighbour', namespace: ROOT, link: cable, address: ROUTER_END, mac: ROUTER_MAC },
    { kind: 'route', namespace: ROOT, destination: subnet, link: cable, via: ROUTER_END, onlink: true, table },
  ];
}

/** A peer on the VXLAN: who has its mesh address, and behind which host that is. */
export function wrappedPeer({ instance }: ClearOptions, { subnet, endpoint }: ClearPeer): KernelObject[] {
  const link = clearLink(instance);
  const mac = meshMac(subnet);
  return [
    { kind: 'fdb', namespace: ROUTER, link, mac, remote: endpoint },
    { kind: 'neighbour', namespace: ROUTER, link, address: meshAddress(subnet), mac },
  ];
}

/**
 * A peer on the uplink: the router hands it to the root namespace, and that to the peer.
 *
 * @param uplink as it is in the root namespace now
 */
export function directPeer({ instance }: ClearOptions, { subnet, endpoint }: ClearPeer, uplink: Link): KernelObject[] {
  const address = meshAddress(subnet);
  const table = directTable(instance);
  return [
    { kind: 'neighbour', namespace: ROUTER, link: directLink(instance), address, mac: CABLE_MAC },
    { kind: 'route', namespace: ROOT, destination: subnet, link: uplink, via: endpoint.address, onlink: true, table },
  ];
}

/**
 * The route by which the router sends to a peer's sandboxes.
 *
 * @param mtu bytes, of the path to it, where that is less than the links take
 */
export function clearRoute(link: Link, { subnet }: ClearPeer, mtu?: number): Kind<'route'> {
  return {
    kind: 'route',
    namespace: ROUTER,
    destination: subnet,
    link,
    via: meshAddress(subnet),
    onlink: true,
    ...(mtu === undefined ? {} : { mtu }),
  };
}
