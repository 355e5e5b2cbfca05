import { isDeepStrictEqual } from 'node:util';
import { expect, it } from 'vitest';
import { waitUntil } from '../../../lab/wait.ts';
import { World } from '../../../lab/world.ts';
import { parseIp } from '../../addr/ip.ts';
import { parseIpInterface, parseIpPrefix } from '../../addr/ip-prefix.ts';
import { diff } from '../../plan/diff.ts';
import { type Family, type KernelObject, type Link, LOOPBACK, objectKey, ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { listIpv6Addresses } from '../observe/addresses.ts';
import { listRoutes } from '../observe/routes.ts';
import { listPolicyRules } from '../observe/rules.ts';
import type { Route } from './route.ts';
import type { PolicyRule } from './rule.ts';

/** Like a tunnel's: it has no neighbours, so none is asked whether an address is free. The first that a namespace is given. */
const TUN: Link = { name: 'tt0', index: 2 };
const TABLE = 51_820;
const PROTOCOL = 87;
const FAMILIES: readonly Family[] = ['inet', 'inet6'];

function address(text: string, more: { readonly nodad?: true } = {}): KernelObject {
  return { kind: 'address', namespace: ROUTER, link: TUN, ...parseIpInterface(text), ...more };
}

function route(destination: string, more: Partial<Route> = {}): Route {
  const prefix = parseIpPrefix(destination);
  return { kind: 'route', namespace: ROUTER, destination: prefix, link: TUN, protocol: PROTOCOL, ...more };
}

function rule(priority: number, more: Partial<PolicyRule>): PolicyRule {
  return { kind: 'rule', namespace: ROUTER, priority, protocol: PROTOCOL, ...more };
}

const RULES: readonly PolicyRule[] = [
  rule(100, { mark: { value: TABLE }, inverted: true, table: TABLE }),
  rule(99, { suppressPrefixLength: 0, table: 254 }),
  rule(99, { suppressPrefixLength: 0, table: 254, family: 'inet6' }),
  rule(100, { mark: { value: TABLE }, inverted: true, table: TABLE, family: 'inet6' }),
  rule(101, { mark: { value: 0x10, mask: 0xf0 }, iif: 'lo', table: TABLE }),
  rule(102, { mark: { value: 0, mask: 0xf0 }, oif: 'tt0', family: 'inet6', table: TABLE }),
  rule(103, { from: parseIpPrefix('fd00:20::/32'), to: parseIpPrefix('fd00:30::/32'), table: TABLE }),
  rule(104, { from: parseIpPrefix('fd00:40::/32') }),
];

const ROUTES: readonly Route[] = [
  route('0.0.0.0/0', { table: TABLE }),
  route('::/0', { table: TABLE }),
  route('10.20.0.0/16', { source: parseIp('10.9.0.2'), mtu: 1300, metric: 50 }),
  route('10.20.0.0/16', { metric: 60 }),
  route('fd00:20::/32', { via: parseIp('fd00:99::9'), onlink: true, source: parseIp('fd00:9::2'), mtu: 1380 }),
  route('fd00:20::/32', { metric: 2000 }),
  route('10.21.0.0/16', { via: parseIp('fe80::1'), onlink: true }),
  route('10.66.0.0/16', { type: 'blackhole', link: LOOPBACK }),
  route('10.67.0.0/16', { type: 'unreachable', link: LOOPBACK, table: TABLE, metric: 9 }),
  route('fd00:66::/32', { type: 'unreachable', link: LOOPBACK }),
  route('::/0', { type: 'blackhole', link: LOOPBACK, table: TABLE + 1 }),
];

const ADDRESSES = [
  address('10.9.0.2/32'),
  address('10.9.1.2/24'),
  address('fd00:9::2/128', { nodad: true }),
  address('fd00:9:1::2/64'),
];

const OBJECTS: readonly KernelObject[] = [...RULES, ...ADDRESSES, ...ROUTES];

const TEXT = `
ip -n router rule add priority 100 not fwmark 0xca6c lookup 51820 protocol 87
ip -n router rule add priority 99 lookup 254 suppress_prefixlength 0 protocol 87
ip -6 -n router rule add priority 99 lookup 254 suppress_prefixlength 0 protocol 87
ip -6 -n router rule add priority 100 not fwmark 0xca6c lookup 51820 protocol 87
ip -n router rule add priority 101 iif lo fwmark 0x10/0xf0 lookup 51820 protocol 87
ip -6 -n router rule add priority 102 oif tt0 fwmark 0x0/0xf0 lookup 51820 protocol 87
ip -6 -n router rule add priority 103 from fd00:20::/32 to fd00:30::/32 lookup 51820 protocol 87
ip -6 -n router rule add priority 104 from fd00:40::/32 blackhole protocol 87
ip -n router address add 10.9.0.2/32 dev tt0
ip -n router address add 10.9.1.2/24 dev tt0
ip -6 -n router address add fd00:9::2/128 dev tt0 nodad
ip -6 -n router address add fd00:9:1::2/64 dev tt0
ip -n router route add default dev tt0 table 51820 proto 87
ip -6 -n router route add default dev tt0 table 51820 proto 87
ip -n router route add 10.20.0.0/16 dev tt0 metric 50 proto 87 mtu 1300 src 10.9.0.2
ip -n router route add 10.20.0.0/16 dev tt0 metric 60 proto 87
ip -6 -n router route add fd00:20::/32 via fd00:99::9 dev tt0 onlink proto 87 mtu 1380 src fd00:9::2
ip -6 -n router route add fd00:20::/32 dev tt0 metric 2000 proto 87
ip -n router route add 10.21.0.0/16 via inet6 fe80::1 dev tt0 onlink proto 87
ip -n router route add blackhole 10.66.0.0/16 proto 87
ip -n router route add unreachable 10.67.0.0/16 table 51820 metric 9 proto 87
ip -6 -n router route add unreachable fd00:66::/32 proto 87
ip -6 -n router route add blackhole default table 51821 proto 87
`;

function makeWorld(): World {
  const world = new World();
  world.run(ROUTER, 'sh', '-c', 'ip link set lo up; ip tuntap add mode tun name tt0; ip link set tt0 up');
  return world;
}

/** What iproute2 sees of both families, but for what the kernel finds out of links by and by. */
function shown(world: World): unknown[] {
  const texts = ['route show table all', 'rule show', 'address show dev tt0'].flatMap((what) =>
    ['-4', '-6'].map((family) => world.run(ROUTER, 'ip', '-j', '-d', '-N', family, ...what.split(' '))),
  );
  return texts.map((text) => {
    // what the kernel says of a link when it has time
    const late = /,?"(linkdown|tentative)"(:true)?|"operstate":"\w+",/g;
    const all = JSON.parse(text.replaceAll(late, '')) as { dst?: string }[];
    return all.filter(({ dst }) => dst !== 'ff00::/8');
  });
}

function found(world: World, objects = OBJECTS): KernelObject[] {
  const keys = new Set(OBJECTS.map(objectKey));
  return world.kernel.find(ROUTER, objects).objects.filter((object) => keys.has(objectKey(object)));
}

/** What is found of an owner by its number alone. */
function ours(world: World): KernelObject[] {
  return world.kernel.withSocket(ROUTER, (socket) =>
    FAMILIES.flatMap((family) => [
      ...listPolicyRules(socket, ROUTER, { family, protocol: PROTOCOL }),
      ...listRoutes(socket, ROUTER, new Map([[TUN.index, TUN]]), { family, table: 'each', protocol: PROTOCOL }),
    ]),
  );
}

function sorted(objects: readonly KernelObject[]): KernelObject[] {
  return objects.toSorted((a, b) => (objectKey(a) < objectKey(b) ? -1 : 1));
}

it('is in the kernel what iproute2 makes of its text, and is read back as it was described', () => {
  using world = makeWorld();
  using twin = makeWorld();
  const before = shown(world);
  const plan = diff([], OBJECTS);
  expect(planText(plan)).toBe(TEXT.trim());
  for (const line of TEXT.trim().split('\n')) twin.run(ROUTER, ...line.replace(' -n router', '').split(' '));
  world.kernel.apply(plan);
  expect(shown(world)).toEqual(shown(twin));
  expect(sorted(found(world))).toEqual(sorted(OBJECTS));
  expect(diff(found(world), OBJECTS)).toEqual([]);
  expect(sorted(ours(world))).toEqual(sorted([...RULES, ...ROUTES]));
  world.kernel.apply(diff(OBJECTS, []));
  expect(shown(world)).toEqual(before);
});

it('has addresses of IPv6 that are used at once, or after the moment that it takes to ask nobody', () => {
  using world = makeWorld();
  const asked = address('fd00:9::2/128');
  world.kernel.apply(diff([], [asked]));
  const flags = (): unknown => {
    const [shownLink] = world.ask(ROUTER, 'ip', '-j', '-6', 'address', 'show', 'dev', 'tt0', 'to', 'fd00:9::2') as [
      { addr_info: [Record<string, unknown>] },
    ];
    const [{ tentative, nodad }] = shownLink.addr_info;
    return { tentative, nodad };
  };
  waitUntil(() => isDeepStrictEqual(flags(), { tentative: undefined, nodad: undefined }));
  const once = address('fd00:9::2/128', { nodad: true });
  const change = diff(found(world, [asked]), [once]);
  expect(planText(change)).toBe('ip -6 -n router address change fd00:9::2/128 dev tt0 nodad');
  world.kernel.apply(change);
  expect(flags()).toEqual({ tentative: undefined, nodad: true });
  expect(found(world, [once])).toEqual([once]);
});

it('changes a route in place, also to and from a dead end', () => {
  using world = makeWorld();
  const plain = [route('fd00:20::/32'), route('10.20.0.0/16'), route('fd00:66::/32')];
  world.kernel.apply(diff([], [...ADDRESSES, ...plain]));
  for (const next of [
    [route('fd00:20::/32', { mtu: 1300 }), route('10.20.0.0/16', { mtu: 1300 }), plain[2]],
    [
      route('fd00:20::/32', { via: parseIp('fd00:99::9'), onlink: true }),
      route('10.20.0.0/16', { via: parseIp('10.99.0.1'), onlink: true }),
      route('fd00:66::/32', { type: 'unreachable', link: LOOPBACK }),
    ],
    plain,
  ]) {
    const wanted = next.filter((one) => one !== undefined);
    const plan = diff(ours(world), wanted);
    expect(plan.map(({ verb }) => verb)).toEqual(plan.map(() => 'change'));
    world.kernel.apply(plan);
    expect(sorted(ours(world))).toEqual(sorted(wanted));
  }
});

it('leaves alone what is another’s, though it is much the same', () => {
  using world = makeWorld();
  const ip = (line: string): string => world.run(ROUTER, 'ip', ...line.split(' '));
  for (const line of [
    '-4 rule add priority 99 lookup 254 suppress_prefixlength 0',
    '-6 rule add priority 100 not fwmark 51820 lookup 51820 protocol 9',
    '-4 rule add priority 101 fwmark 16/0xf0 iif lo lookup 51820 ipproto udp protocol 9',
    '-6 route add default dev tt0 table 51820 metric 5',
    '-4 route add 10.20.0.0/16 dev tt0 metric 7 proto 9',
    '-6 route add fd00:20::/32 dev tt0 metric 9 proto 9',
  ])
    ip(line);
  // with its last address of IPv4 a link loses every route
  world.kernel.apply(diff([], ADDRESSES));
  // an address has its own route when nobody has answered that it is theirs
  waitUntil(() => !ip('-6 address show dev tt0').includes('tentative'));
  const before = shown(world);
  world.kernel.apply(diff([], [...RULES, ...ROUTES]));
  expect(sorted(ours(world))).toEqual(sorted([...RULES, ...ROUTES]));
  const all = world.kernel.withSocket(ROUTER, (socket) => listPolicyRules(socket, ROUTER, { protocol: 'each' }));
  expect(all).toHaveLength(5);
  expect(all.filter((one) => one.asksMore === true)).toEqual([
    rule(101, { mark: { value: 16, mask: 0xf0 }, iif: 'lo', table: TABLE, asksMore: true, protocol: 9 }),
  ]);
  world.kernel.apply(diff(ours(world), []));
  expect(shown(world)).toEqual(before);
});

it('finds rules by the table that they lead to and the link that they ask for', () => {
  using world = makeWorld();
  world.kernel.apply(diff([], RULES));
  const priorities = (filter: Parameters<typeof listPolicyRules>[2]): number[] =>
    world.kernel
      .withSocket(ROUTER, (socket) => listPolicyRules(socket, ROUTER, filter))
      .map(({ priority }) => priority);
  expect(priorities({ table: 254 })).toEqual([99]);
  expect(priorities({ family: 'inet6', table: TABLE })).toEqual([100, 102, 103]);
  expect(priorities({ link: 'lo' })).toEqual([101]);
  expect(priorities({ family: 'inet6', link: 'tt0' })).toEqual([102]);
});

it('does not take for its own what the kernel gives a link by itself', () => {
  using world = makeWorld();
  world.run(ROUTER, 'sh', '-c', 'ip link add v0 index 50 type veth peer v1; ip link set v1 up; ip link set v0 up');
  world.run(ROUTER, 'ip', 'address', 'add', 'fe80::77/64', 'dev', 'v0', 'nodad');
  const v0: Link = { name: 'v0', index: 50 };
  const listed = world.kernel.withSocket(ROUTER, (socket) =>
    listIpv6Addresses(socket, ROUTER, new Map([[50, v0]]), v0),
  );
  expect(listed).toEqual([{ ...address('fe80::77/64', { nodad: true }), link: v0 }]);
  const shownToo = world.ask(ROUTER, 'ip', '-j', '-6', 'address', 'show', 'dev', 'v0');
  expect(shownToo).toMatchObject([{ addr_info: [{}, {}] }]);
});
