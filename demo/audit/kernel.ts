import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { LabHost } from '../../lab/host.ts';
import { NamespaceHandle } from '../../src/linux/namespace.ts';
import type { Daemon } from '../daemon.ts';
import { namesIn } from './host.ts';

/** What the kernel holds of sandboxes, as `ip`, `nft` and /proc say. Each list is sorted; what is twice is there twice. */
export type KernelView = {
  /** Files in the folder of pins. */
  readonly pins: readonly string[];
  /** Namespaces mounted there. */
  readonly mounts: readonly string[];
  /** Ends of sandboxes' links in the router. */
  readonly links: readonly string[];
  /** `10.11.0.5 s5` */
  readonly routes: readonly string[];
  /** Of the map that lets sandboxes out: `s5 10.11.0.5 of build-42 generation 3` */
  readonly outbound: readonly string[];
  readonly inbound: readonly string[];
  /** Of the set that binds addresses to ports of the bridge. */
  readonly ports: readonly string[];
};

type Elements = { readonly nftables: readonly { readonly map?: Holder; readonly set?: Holder }[] };
type Holder = { readonly elem?: readonly (Element | readonly [key: Element, data: unknown])[] };
type Element = { readonly elem: { readonly val: { readonly concat: readonly string[] }; readonly comment: string } };

export function lookAtKernel(lab: LabHost, daemon: Daemon): KernelView {
  const router = daemon.pin('router');
  const ask = (...command: string[]): unknown => JSON.parse(lab.run(router, ...command));
  const isCable = (name: string): boolean => /^s\d+$/.test(name);
  const elements = (...where: string[]): string[] =>
    (ask('nft', '-j', 'list', ...where) as Elements).nftables
      .flatMap(({ map, set }) => (map ?? set)?.elem ?? [])
      .map((entry) => ('elem' in entry ? entry : entry[0]))
      .map(({ elem: { val, comment } }) => `${val.concat.join(' ')} of ${comment}`)
      .toSorted();
  return {
    pins: namesIn(daemon.pins),
    mounts: mountsIn(daemon.pins),
    links: (ask('ip', '-j', 'link') as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .filter(isCable)
      .toSorted(),
    routes: (ask('ip', '-j', '-4', 'route') as { dst: string; dev: string }[])
      .filter(({ dev }) => isCable(dev))
      .map(({ dst, dev }) => `${dst} ${dev}`)
      .toSorted(),
    outbound: elements('map', 'inet', 'culvert', 'outbound'),
    inbound: elements('map', 'inet', 'culvert', 'inbound'),
    ports: elements('set', 'bridge', 'culvert', 'ports'),
  };
}

/** The addresses that a namespace has on its loopback and `eth0`, but for those of every loopback, by getifaddrs(3). */
export function addressesInside(netns: string): string[] {
  using namespace = new NamespaceHandle(netns);
  const links = namespace.run(networkInterfaces);
  return ['lo', 'eth0']
    .flatMap((name) => links[name] ?? [])
    .filter(({ family, address }) => family === 'IPv4' && !address.startsWith('127.'))
    .map(({ address }) => address);
}

/** How many packets a chain of the router's has counted. */
export function counted(lab: Pick<LabHost, 'run'>, daemon: Daemon, family: 'inet' | 'bridge', chain: string): number {
  const text = lab.run(daemon.pin('router'), 'nft', '-j', 'list', 'chain', family, 'culvert', chain);
  const { nftables } = JSON.parse(text) as { nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[] };
  const counters = nftables.flatMap(({ rule }) => rule?.expr ?? []).flatMap(({ counter }) => counter?.packets ?? []);
  if (counters.length === 0) throw new Error(`Chain ${chain} of ${family} culvert counts nothing`);
  return counters.reduce((sum, packets) => sum + packets, 0);
}

function mountsIn(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .map((path) => path.slice(folder.length + 1))
    .toSorted();
}
