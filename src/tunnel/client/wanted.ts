import { formatIp, type Ip, parseIp } from '../../addr/ip.ts';
import { CulvertError } from '../../errors.ts';
import { listLinks } from '../../linux/observe/links.ts';
import { listRoutes } from '../../linux/observe/routes.ts';
import { findWay } from '../../linux/observe/way.ts';
import { processOf } from '../../linux/process.ts';
import type { PolicyRule } from '../../linux/route/rule.ts';
import { diff, type Plan } from '../../plan/diff.ts';
import { type KernelObject, objectKey, ROOT } from '../../plan/state.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { PeerConfig } from '../config/config.ts';
import type { MarkedLookup } from '../endpoint/marked-lookup.ts';
import { type Resolved, resolveEndpoints } from '../endpoint/resolve.ts';
import { forwardTable } from '../firewall/forward.ts';
import { killSwitchTable } from '../firewall/kill-switch.ts';
import type { FirewallTable } from '../firewall/table.ts';
import { wayTable } from '../firewall/way.ts';
import { type Mark, readMark } from '../owner/mark.ts';
import { chooseNumbers, takenNumbers } from '../plan/numbers.ts';
import { fullFamilies, type Numbers, RT_TABLE_MAIN, TUNNEL_PROTOCOL, wholeFamilies } from '../plan/routing.ts';
import { tunnelMtu } from '../plan/size.ts';
import type { ConnectRequest } from './request.ts';
import type { Workplace } from './workplace.ts';

/** What a tunnel is to have, by what is asked for and where it is worked on. */
export class Wanted {
  readonly #place: Workplace;
  readonly #request: ConnectRequest;

  constructor(place: Workplace, request: ConnectRequest) {
    this.#place = place;
    this.#request = request;
  }

  /** Those that it takes where nothing of it stands. @throws CulvertError `no_table_free` */
  numbers(): Numbers {
    const { config, allow } = this.#request;
    const numbers = this.#place.kernel.withSocket(ROOT, (socket) => chooseNumbers(takenNumbers(socket), config.fwMark));
    const needsMark = allow !== undefined || config.fwMark !== undefined || fullFamilies(config).length > 0;
    return needsMark ? numbers : { ...numbers, fwMark: 0 };
  }

  /**
   * Of two with one mark the packets of each would go past the other, and the rules of neither could be told apart.
   *
   * @throws CulvertError `mark_in_use`
   */
  assertMarkFree(): void {
    const { kernel, name } = this.#place;
    const { fwMark } = this.#request.config;
    if (fwMark === undefined || fwMark === 0) return;
    const links = kernel.withSocket(ROOT, (socket) => listLinks(socket, ROOT));
    const other = links.find(({ end, alias }) => end.link.name !== name && readMark(alias)?.fwMark === fwMark);
    if (other === undefined) return;
    const message = `Cannot connect ${name}: its FwMark ${fwMark} is tunnel ${other.end.link.name}’s; choose another, or none`;
    throw new CulvertError('mark_in_use', message);
  }

  /** Of two that take everything each would send the other's encrypted packets into itself. @returns what a person is to know */
  tellOthers({ fwMark }: Numbers): readonly string[] {
    const { kernel, name } = this.#place;
    const families = fullFamilies(this.#request.config);
    if (families.length === 0) return [];
    const { rules } = kernel.withSocket(ROOT, takenNumbers);
    const isOthers = ({ protocol, mark, inverted }: PolicyRule): boolean =>
      protocol === TUNNEL_PROTOCOL && inverted === true && mark !== undefined && mark.value !== fwMark;
    if (!families.some((family) => rules[family].some(isOthers))) return [];
    return [`another tunnel takes everything as ${name} does: neither may work; say --split for one of them`];
  }

  /** Where its peers are. @throws CulvertError `endpoint_unresolved` where that is known of none, and of some it should be */
  async resolve(numbers: Numbers): Promise<Resolved> {
    const { config } = this.#request;
    const marked = this.lookup(numbers);
    const resolved = await this.#place.kernel.withSocket(ROOT, (socket) =>
      resolveEndpoints(socket, config.peers, marked),
    );
    if (resolved.endpoints.size > 0 || resolved.unresolved.size === 0) {
      return resolved;
    }
    const why = [...resolved.unresolved.values()].join('; ');
    throw new CulvertError('endpoint_unresolved', `Cannot connect ${this.#place.name}: ${why}`);
  }

  /**
   * Where peers are now, while the tunnel stands: who answers for names may be behind it, and it may be dead. So they are
   * asked for past it where that can be, and then as the machine does.
   */
  async endpointsAnew(peers: readonly PeerConfig[], numbers: Numbers): Promise<ReadonlyMap<Key, Endpoint>> {
    const look = (some: readonly PeerConfig[], marked?: MarkedLookup): Promise<Resolved> =>
      this.#place.kernel.withSocket(ROOT, (socket) => resolveEndpoints(socket, some, marked));
    const isClosed = this.#request.allow !== undefined;
    if (numbers.fwMark === 0) return (await look(peers)).endpoints;
    const first = await look(peers, this.#marked(numbers));
    if (isClosed || first.unresolved.size === 0) return first.endpoints;
    const rest = peers.filter(({ publicKey }) => first.unresolved.has(publicKey));
    return new Map([...first.endpoints, ...(await look(rest)).endpoints]);
  }

  /** How names are asked for past its kill switch; undefined where there is none. */
  lookup(numbers: Numbers): MarkedLookup | undefined {
    return this.#request.allow === undefined ? undefined : this.#marked(numbers);
  }

  #marked({ fwMark }: Numbers): MarkedLookup {
    return { fwMark, servers: resolversOf(this.#place) };
  }

  /** bytes */
  mtu({ endpoints }: Resolved, { fwMark }: Numbers): number {
    const { mtu, addresses: own } = this.#request.config;
    const sized = { endpoints: [...endpoints.values()].map(({ address }) => address), fwMark, own };
    return mtu ?? this.#place.kernel.withSocket(ROOT, (socket) => tunnelMtu(socket, sized));
  }

  /** What stands where its link is; undefined where no default route leads through it, and nothing is forwarded. */
  way({ fwMark }: Numbers): FirewallTable | undefined {
    const { config, forwards } = this.#request;
    const { name } = this.#place;
    const addresses = config.addresses.map(({ address }) => address);
    if (forwards) return forwardTable(name, addresses);
    if (fullFamilies(config).length === 0) return undefined;
    return wayTable({ name, mark: fwMark, addresses });
  }

  /** undefined where none is wanted */
  killSwitch({ endpoints }: Resolved, { fwMark }: Numbers): FirewallTable | undefined {
    const { allow } = this.#request;
    const { name } = this.#place;
    if (allow === undefined) return undefined;
    const resolvers = resolversOf(this.#place);
    return killSwitchTable({ name, mark: fwMark, endpoints: [...endpoints.values()], resolvers, allow });
  }

  /** What is to be done of these. */
  plan(objects: readonly KernelObject[]): Plan {
    const { kernel, at } = this.#place;
    const keys = new Set(objects.map(objectKey));
    const seen = kernel.find(at, objects).objects.filter((object) => keys.has(objectKey(object)));
    return diff(seen, objects);
  }

  /**
   * What goes by another way out of a namespace does not go by the tunnel.
   *
   * @throws CulvertError `namespace_has_way_out`
   */
  assertApart(): void {
    const { kernel, at, namespace } = this.#place;
    const { config } = this.#request;
    if (at === ROOT || config.table !== RT_TABLE_MAIN) return;
    const found = kernel.withSocket(at, (socket) => {
      const links = new Map(listLinks(socket, at).map(({ end }) => [end.link.index, end.link]));
      return wholeFamilies(config).flatMap((family) =>
        listRoutes(socket, at, links, { family, protocol: 'each', isDefault: true }),
      );
    });
    const other = found.find(({ link, type }) => type === undefined && link.name !== this.#place.name);
    if (other === undefined) return;
    const message = `Cannot connect ${this.#place.name}: ${namespace} has a default route by ${other.link.name}, past the tunnel; delete it, or say --split`;
    throw new CulvertError('namespace_has_way_out', message);
  }

  /** Of which family all goes by, where all of the other goes through and the machine has a way out of both. */
  tellPast(): readonly string[] {
    const { kernel, at } = this.#place;
    const { config, allow } = this.#request;
    const [family, ...both] = fullFamilies(config);
    if (at !== ROOT || allow !== undefined || family === undefined || both.length > 0) return [];
    const [past, words, prefix] =
      family === 'inet' ? ([ANYWHERE6, 'IPv6', '::/0'] as const) : ([ANYWHERE4, 'IPv4', '0.0.0.0/0'] as const);
    if (kernel.withSocket(ROOT, (socket) => findWay(socket, past)) === undefined) return [];
    return [`${words} goes past it, in clear: its AllowedIPs have no ${prefix}; a kill switch would keep it in`];
  }

  /** Has the machine ask its name servers. @returns what a person is to know */
  askNames(): readonly string[] {
    const { dns, dnsName, name, at } = this.#place;
    const { servers } = this.#request.config.dns;
    if (at !== ROOT) {
      const text = servers.map(formatIp).join(', ');
      return servers.length === 0 ? [] : [`name servers are for who lives in the namespace to set: ${text}`];
    }
    return dns.set(dnsName, name, this.#request.config.dns).notices;
  }
}

/** Addresses by which the default routes are found. */
const [ANYWHERE4, ANYWHERE6] = [parseIp('192.0.2.1'), parseIp('2001:db8::1')];

/** Whom the machine asked for names before any tunnel. */
function resolversOf({ dns }: Workplace): Ip[] {
  return dns.nameserversBefore().servers.flatMap((server) => {
    // one of a link, with its zone, is no server that a set can hold
    return server.includes('%') ? [] : [parseIp(server)];
  });
}

/** That this process keeps it. */
export function ownMark(fwMark: number): Mark {
  const owner = processOf(process.pid);
  if (owner === undefined) throw new CulvertError('no_proc', 'Cannot tell who owns a tunnel: /proc is not there');
  return { owner, fwMark };
}
