import { parseMac } from '../../addr/mac.ts';
import { instanceNumber } from '../../plan/instance.ts';
import { type KernelObject, type Link, LOOPBACK, ROOT, ROUTER } from '../../plan/state.ts';
import { bridgeItself } from '../topology/bridge.ts';
import { EVERYWHERE } from '../topology/cable.ts';
import { hostAddress, type Layout, routerAddress } from '../topology/layout.ts';

/** The router's end of the cable to the root namespace. */
export const UPLINK: Link = { name: 'uplink', index: 9_998 };

const CABLE_MAC = parseMac('02:cf:00:00:00:03');
const UPLINK_MAC = parseMac('02:cf:00:00:00:04');

/** The first index of the range that the root's end takes its own from, far above what a host numbers by itself. */
const FIRST_ROOT_INDEX = 1_000_000;
const ROOT_INDEXES = 1_000_000;

export type Host = {
  /** of the daemon, 1 to 12 of a-z, 0-9 and -: it names what stands in the root namespace */
  readonly instance: string;
  readonly layout: Layout;
  /** the link that the host reaches the outside by; absent on a host without any */
  readonly uplink?: string;
  /** names of links that others may open connections to sandboxes by; `*` for all */
  readonly inbound: readonly string[];
};

/** The same, of the NFLOG groups: 0 to 65535, and the low ones are what people choose by hand. */
const FIRST_ROOT_GROUP = 10_000;
const ROOT_GROUPS = 50_000;

/** The root's end of the cable: all that shows of Culvert in the root namespace. */
export function rootCable(instance: string): Link {
  return { name: `cv-${instance}`, index: FIRST_ROOT_INDEX + instanceNumber(instance, ROOT_INDEXES) };
}

/** NFLOG group that drops in the router namespace are reported to, where all groups are ours. */
export const ROUTER_REPORT_GROUP = 5;

/** The NFLOG group that the root namespace's rules report to: a group has one listener, and a host many daemons. */
export function rootReportGroup(instance: string): number {
  return FIRST_ROOT_GROUP + instanceNumber(instance, ROOT_GROUPS);
}

/** Whether a link is some daemon's, of whatever instance. */
export function isRootCable({ name, index }: Link): boolean {
  return name.startsWith('cv-') && index >= FIRST_ROOT_INDEX && index < FIRST_ROOT_INDEX + ROOT_INDEXES;
}

/**
 * What stands on a host before there is a sandbox, and stays the same with 10,000: the router namespace, the one cable
 * to it and the routes over it.
 */
export function hostObjects(host: Host): KernelObject[] {
  const { layout, instance, uplink } = host;
  const { mtu } = layout;
  const cable = rootCable(instance);
  // Slot 0 is nobody's, so its addresses serve the cable that all others hang on.
  const near = hostAddress(layout, 0);
  const far = routerAddress(layout, 0);
  const objects: KernelObject[] = [
    { kind: 'namespace', namespace: ROUTER },
    ...routerSettings(),
    { kind: 'loopback', namespace: ROUTER },
    {
      kind: 'veth',
      peer: { namespace: ROUTER, link: UPLINK, mac: UPLINK_MAC, mtu, up: true },
      namespace: ROOT,
      link: cable,
      mac: CABLE_MAC,
      mtu,
      up: true,
    },
    { kind: 'forwarding', namespace: ROOT, link: cable },
    { kind: 'address', namespace: ROOT, link: cable, address: near, length: 32 },
    { kind: 'neighbour', namespace: ROOT, link: cable, address: far, mac: UPLINK_MAC },
    { kind: 'neighbour', namespace: ROUTER, link: UPLINK, address: near, mac: CABLE_MAC },
    { kind: 'route', namespace: ROUTER, destination: { address: near, length: 32 }, link: UPLINK },
    { kind: 'route', namespace: ROUTER, destination: EVERYWHERE, link: UPLINK, via: near },
    { kind: 'route', namespace: ROOT, destination: { address: far, length: 32 }, link: cable },
    { kind: 'route', namespace: ROOT, destination: layout.hostRange, link: cable, via: far, source: near },
    { kind: 'route', namespace: ROOT, destination: layout.bridgeRange, link: cable, via: far, source: near },
    // A whole range on the loopback makes all of it local: every gateway answers, with no address per cable.
    {
      kind: 'address',
      namespace: ROUTER,
      link: LOOPBACK,
      address: layout.linkRange.address,
      length: layout.linkRange.length,
    },
    ...bridgeItself(layout),
  ];
  if (uplink !== undefined) {
    // The machine's own link is not ours to set over netlink; answers come in by it and must go on.
    objects.push({ kind: 'sysctl', namespace: ROOT, name: `net/ipv4/conf/${uplink}/forwarding`, value: '1' });
  }
  return objects;
}

/** `default` holds for every link that is made later, so no sandbox needs a write of its own. */
function routerSettings(): KernelObject[] {
  const settings = {
    'net/ipv6/conf/default/disable_ipv6': '1',
    'net/ipv4/ip_forward': '1',
    'net/ipv4/conf/default/rp_filter': '1',
    // a namespace has it from the machine's first one, and of the two the stricter counts
    'net/ipv4/conf/all/rp_filter': '0',
    'net/ipv4/conf/default/log_martians': '1',
    'net/ipv4/conf/default/send_redirects': '0',
    'net/ipv4/conf/all/send_redirects': '0',
    'net/ipv4/conf/default/accept_redirects': '0',
    'net/ipv4/conf/all/accept_redirects': '0',
  };
  return [
    ...Object.entries(settings).map(([name, value]) => ({ kind: 'sysctl', namespace: ROUTER, name, value }) as const),
    // 1 in each new namespace, it would send the bridge's frames through the rules for routed packets as well
    { kind: 'sysctl', namespace: ROUTER, name: 'net/bridge/bridge-nf-call-iptables', value: '0', ofModule: true },
  ];
}
