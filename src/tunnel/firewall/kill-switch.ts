import { type Ip, isIpv6 } from '../../addr/ip.ts';
import { type IpPrefix, ipPrefixCovers, parseIpPrefix } from '../../addr/ip-prefix.ts';
import { type Ipv6, ipv6Bytes, parseIpv6 } from '../../addr/ipv6.ts';
import { InputError } from '../../errors.ts';
import type { Chain, Element, NamedSet, Ruleset, SetElements } from '../../plan/ruleset.ts';
import {
  accept,
  counter,
  drop,
  equals,
  iifname,
  isEstablished,
  isForwardedPort,
  isIcmpv6,
  isIn,
  isIpv4,
  isIpv6 as isIpv6Packet,
  isMarked,
  isUdp,
  jump,
  oifname,
  reject,
  rule,
} from '../../plan/words.ts';
import { tableOf } from './names.ts';
import type { FirewallTable } from './table.ts';

export type KillSwitchOptions = {
  /** of the tunnel, which is its link's */
  readonly name: string;
  /** that the tunnel's encrypted packets carry, and the queries for its endpoints' names; not 0, which all others have */
  readonly mark: number;
  /** where encrypted packets go */
  readonly endpoints: readonly Endpoint[];
  /** that may be asked for the endpoints' names, by UDP and TCP: those of before the tunnel */
  readonly resolvers: readonly Ip[];
  /** that everybody may reach past the tunnel */
  readonly allow: readonly IpPrefix[];
};

export type Endpoint = { readonly address: Ip; readonly port: number };

/** Per family. */
const MAX_MARKED = 8192;
const MAX_ALLOWED = 2048;

/** linux/in.h */
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

const DNS_PORT = 53;

/** Address, protocol and port that marked packets may go to. */
export const MARKED4: NamedSet = {
  name: 'marked4',
  key: ['ipv4_addr', 'inet_proto', 'inet_service'],
  size: MAX_MARKED,
};
export const MARKED6: NamedSet = { ...MARKED4, name: 'marked6', key: ['ipv6_addr', 'inet_proto', 'inet_service'] };

/** Prefixes that all packets may go to; an interval has two ends. */
export const ALLOWED4: NamedSet = { name: 'allowed4', key: ['ipv4_addr'], interval: true, size: 2 * MAX_ALLOWED };
export const ALLOWED6: NamedSet = { ...ALLOWED4, name: 'allowed6', key: ['ipv6_addr'] };

/** Source and destination port of DHCP and of DHCPv6, from clients and from servers (RFC 2131, RFC 8415). */
const DHCP: NamedSet = { name: 'dhcp', key: ['inet_service', 'inet_service'], size: 4 };
const DHCP_PORTS = [
  [68, 67],
  [67, 68],
  [546, 547],
  [547, 546],
];

/**
 * Where DHCP has its servers and clients: all of a link, the multicast groups of its servers, and addresses that stand for
 * nobody beyond a network. Ports alone would be a way out to anywhere for who may have them. A lease of a server that is
 * elsewhere is renewed by broadcast, as where that server is silent (RFC 2131, 4.4.5).
 */
const DHCP4_PREFIXES = ['10.0.0.0/8', '100.64.0.0/10', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16'];
const DHCP6_PREFIXES = ['fe80::/10', 'ff02::1:2/128', 'ff05::1:3/128'];
const BROADCAST = Uint8Array.of(255, 255, 255, 255);
const DHCP4: NamedSet = { name: 'dhcp4', key: ['ipv4_addr'], interval: true, size: 16 };
const DHCP6: NamedSet = { ...DHCP4, name: 'dhcp6', key: ['ipv6_addr'] };

/** Solicitations and advertisements of routers and neighbours (RFC 4861). */
const NEIGHBOURS: NamedSet = { name: 'neighbours', key: ['icmpv6_type'], size: 4 };
const NEIGHBOUR_TYPES = [133, 134, 135, 136];

/** What neighbour discovery leaves with; nobody takes it with less, and what was forwarded has less (RFC 4861). */
const OWN_HOP_LIMIT = Uint8Array.of(255);

/** Who listens to which multicast groups, told the switches of the link (RFC 3810). */
const MLD_REPORT = Uint8Array.of(143);
const MLD_ROUTERS = ipv6Bytes(parseIpv6('ff02::16'));

/**
 * Higher runs later. Another table's accept decides nothing here, wherever it stands, and its drop is final. So this
 * comes after all that others may do to a packet: marks that send it another way (-150), translations of its
 * destination (-100) and of its source (100).
 */
const LATE = 400;

/**
 * Lets nothing leave the host but by the tunnel, whatever becomes of the tunnel, its routes and the process that made it.
 *
 *     from here ──► output ─┐                              ┌─► by the tunnel's link, or lo
 *                           ├──► postrouting ──────────────┼─► marked, to an endpoint or a resolver
 *     from others ► forward ┘                              └─► to what is allowed; DHCP, neighbours
 *
 * - `postrouting` decides, for all packets: there the link is the one that the packet leaves by. At `output` it is the
 *   one of before others' rules have marked the packet and so sent it another way, or have changed its destination.
 * - `output` rejects what postrouting would drop. Where a packet is dropped a program that opens a TCP connection
 *   learns of nothing and waits two minutes; with an error it knows at once. The error goes to the packet's source, which
 *   is this host: by lo, so nothing leaves. It is by ICMP and not a reset of TCP: a connection through the tunnel lives on
 *   when the tunnel is away for a while. What is marked otherwise may have been sent another way, so it is left to
 *   postrouting.
 * - `forward` decides for containers and virtual machines behind this host, which leak as well: to the tunnel, and
 *   from it what answers them or comes to a port that is forwarded to them; nothing else but to what is allowed. So
 *   for them to have answers from an allowed network, and the host from them, their own network must be allowed too.
 *
 * What comes in is not looked at: a packet from outside to a service of this host arrives, but no answer leaves. Nor is
 * a connection of before an exception: what it sends is dropped like the rest. What passes no hook of IP is not seen:
 * frames that a bridge passes on, what is sent by packet sockets (DHCP clients do), flows that a flowtable of others
 * has taken.
 *
 * A mark is set by who has CAP_NET_ADMIN, or CAP_NET_RAW from Linux 5.17 on: other programs cannot use the way to the
 * endpoints. The table has no owner, in the words of nft(8), so it outlives every process.
 *
 * The kernel gives a new chain its rules before its policy: the last rule says the same, so that the table can be
 * replaced while packets pass.
 *
 * @throws InputError `invalid_mark`, `too_many_endpoints`, `too_many_allowed`
 */
export function killSwitchTable(options: KillSwitchOptions): FirewallTable {
  return { ruleset: killSwitchRuleset(options), contents: killSwitchContents(options) };
}

function killSwitchRuleset({ name, mark }: KillSwitchOptions): Ruleset {
  if (!Number.isInteger(mark) || mark <= 0 || mark > 0xffffffff) {
    const message = `Cannot make a kill switch of mark ${mark}: want 1 to 4294967295, which tells encrypted packets from others`;
    throw new InputError('invalid_mark', message, { field: 'mark' });
  }
  return {
    table: tableOf('kill switch', name),
    sets: [MARKED4, MARKED6, ALLOWED4, ALLOWED6, DHCP, DHCP4, DHCP6, NEIGHBOURS],
    elements: [
      { set: DHCP, elements: DHCP_PORTS.map((key) => ({ key })) },
      { set: DHCP4, elements: DHCP4_PREFIXES.map((text) => rangeOf(parseIpPrefix(text))) },
      { set: DHCP6, elements: DHCP6_PREFIXES.map((text) => rangeOf(parseIpPrefix(text))) },
      { set: NEIGHBOURS, elements: NEIGHBOUR_TYPES.map((type) => ({ key: [type] })) },
    ],
    chains: [
      {
        name: 'output',
        base: base('output'),
        rules: [jump('pass'), rule(isMarked(0, '!='), isMarked(mark, '!='), accept), rule(counter, reject)],
      },
      {
        name: 'forward',
        base: base('forward'),
        rules: [
          rule(oifname(name), accept),
          rule(iifname(name), isEstablished, accept),
          rule(iifname(name), isForwardedPort, accept),
          ...allowed,
          rule(counter, reject),
        ],
      },
      {
        name: 'postrouting',
        base: base('postrouting'),
        rules: [
          jump('pass'),
          // as forward decided; a packet that the kernel's WireGuard has encrypted seems to come by the link too
          rule(isMarked(mark, '!='), iifname(name), accept),
          rule(counter, drop),
        ],
      },
      {
        name: 'pass',
        rules: [
          rule(oifname(name), accept),
          rule(oifname('lo'), accept),
          rule(isMarked(mark), isIpv4, isIn(['ip daddr', 'l4proto', 'th dport'], MARKED4.name), accept),
          rule(isMarked(mark), isIpv6Packet, isIn(['ip6 daddr', 'l4proto', 'th dport'], MARKED6.name), accept),
          ...allowed,
          rule(isIpv4, equals('ip daddr', BROADCAST), isUdp, isIn(['th sport', 'th dport'], DHCP.name), accept),
          rule(isIpv4, isIn(['ip daddr'], DHCP4.name), isUdp, isIn(['th sport', 'th dport'], DHCP.name), accept),
          rule(isIpv6Packet, isIn(['ip6 daddr'], DHCP6.name), isUdp, isIn(['th sport', 'th dport'], DHCP.name), accept),
          rule(
            isIpv6Packet,
            equals('ip6 hoplimit', OWN_HOP_LIMIT),
            isIcmpv6,
            isIn(['icmpv6 type'], NEIGHBOURS.name),
            accept,
          ),
          rule(isIpv6Packet, equals('ip6 daddr', MLD_ROUTERS), isIcmpv6, equals('icmpv6 type', MLD_REPORT), accept),
        ],
      },
    ],
  };
}

const allowed = [
  rule(isIpv4, isIn(['ip daddr'], ALLOWED4.name), accept),
  rule(isIpv6Packet, isIn(['ip6 daddr'], ALLOWED6.name), accept),
];

function base(hook: 'output' | 'forward' | 'postrouting'): NonNullable<Chain['base']> {
  return { type: 'filter', hook, priority: LATE, policy: 'drop' };
}

function killSwitchContents({ endpoints, resolvers, allow }: KillSwitchOptions): SetElements[] {
  const marked = [
    ...endpoints.map(({ address, port }) => markedElement(address, IPPROTO_UDP, port, 'endpoint')),
    ...resolvers.map((address) => markedElement(address, IPPROTO_UDP, DNS_PORT, 'resolver')),
    ...resolvers.map((address) => markedElement(address, IPPROTO_TCP, DNS_PORT, 'resolver')),
  ];
  const prefixes = outermost(allow);
  const sets: SetElements[] = [
    { set: MARKED4, elements: distinct(marked.filter(({ key: [address] }) => typeof address === 'number')) },
    { set: MARKED6, elements: distinct(marked.filter(({ key: [address] }) => typeof address === 'bigint')) },
    { set: ALLOWED4, elements: prefixes.filter(({ address }) => !isIpv6(address)).map(rangeOf) },
    { set: ALLOWED6, elements: prefixes.filter(({ address }) => isIpv6(address)).map(rangeOf) },
  ];
  for (const { set, elements } of sets) {
    const most = set.interval === true ? MAX_ALLOWED : MAX_MARKED;
    if (elements.length <= most) continue;
    const [code, what] =
      set.interval === true
        ? (['too_many_allowed', 'allowed prefixes'] as const)
        : (['too_many_endpoints', 'endpoints and resolvers'] as const);
    throw new InputError(
      code,
      `Cannot make a kill switch of ${elements.length} ${what} of one family: at most ${most}`,
    );
  }
  return sets;
}

function markedElement(address: Ip, protocol: number, port: number, comment: string): Element {
  return { key: [address, protocol, port], comment };
}

/** The first of those with the same key: an endpoint may be at a resolver's address and port. */
function distinct(elements: readonly Element[]): Element[] {
  const byKey = new Map<string, Element>();
  for (const element of elements) {
    const key = element.key.join(' ');
    if (!byKey.has(key)) byKey.set(key, element);
  }
  return [...byKey.values()];
}

/** Those that no other covers, each once: ranges of a set must not overlap. Prefixes are apart or one within the other. */
function outermost(prefixes: readonly IpPrefix[]): IpPrefix[] {
  const kept: IpPrefix[] = [];
  for (const prefix of prefixes.toSorted(byAddress)) {
    const last = kept.at(-1);
    if (last === undefined || !ipPrefixCovers(last, prefix)) kept.push(prefix);
  }
  return kept;
}

/** IPv4 first; a shorter prefix before those that begin where it does. */
function byAddress(one: IpPrefix, other: IpPrefix): number {
  if (isIpv6(one.address) !== isIpv6(other.address)) return isIpv6(one.address) ? 1 : -1;
  if (one.address === other.address) return one.length - other.length;
  return one.address < other.address ? -1 : 1;
}

function rangeOf({ address, length }: IpPrefix): Element {
  if (isIpv6(address)) return { key: [address], last: [(address | ((1n << BigInt(128 - length)) - 1n)) as Ipv6] };
  return { key: [address], last: [address + 2 ** (32 - length) - 1] };
}
