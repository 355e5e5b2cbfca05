import { expect, it } from 'vitest';
import { World } from '../../../lab/world.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { diff } from '../../plan/diff.ts';
import { type Link, ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { listRoutes } from '../observe/routes.ts';
import type { Route } from './route.ts';

/** of every such world */
const BRIDGE: Link = { name: 'rt0', index: 9_999 };

const destination = parsePrefix('10.64.16.0/20');
const via = parseIpv4('10.64.16.0');
const TABLE = 2_000_001;
const plain: Route = { kind: 'route', namespace: ROUTER, destination, link: BRIDGE, via, onlink: true };

function listed(world: World, table?: number): Route[] {
  const links = new Map<number, Link>([[BRIDGE.index, BRIDGE]]);
  const filter = { on: BRIDGE, ...(table === undefined ? {} : { table }) };
  return world.kernel.withSocket(ROUTER, (socket) => listRoutes(socket, ROUTER, links, filter));
}

it('goes to a next hop that no other route leads to, with a size of its own', () => {
  using world = new World();
  world.kernel.apply(diff([], [{ ...plain, mtu: 1400 }]));
  const show = ['ip', '-j', '-d', 'route', 'show', '10.64.16.0/20'];
  const shown = { gateway: '10.64.16.0', dev: 'rt0' };
  expect(world.ask(ROUTER, ...show)).toMatchObject([
    { ...shown, flags: ['onlink', 'linkdown'], metrics: [{ mtu: 1400 }] },
  ]);
  expect(listed(world)).toEqual([{ ...plain, mtu: 1400 }]);
  const change = diff(listed(world), [plain]);
  expect(planText(change)).toBe('ip -n router route change 10.64.16.0/20 via 10.64.16.0 dev rt0 onlink');
  world.kernel.apply(change);
  expect(listed(world)).toEqual([plain]);
  world.kernel.apply(diff([{ ...plain, mtu: 1300 }], []));
  expect(listed(world)).toEqual([]);
});

it('stands in the table that it is of, and in no other', () => {
  using world = new World();
  expect(listed(world, TABLE)).toEqual([]);
  const other: Route = { ...plain, table: TABLE };
  const plan = diff([], [plain, other]);
  expect(planText(plan).split('\n')[1]).toBe(
    `ip -n router route add 10.64.16.0/20 via 10.64.16.0 dev rt0 onlink table ${TABLE}`,
  );
  world.kernel.apply(plan);
  expect(listed(world)).toEqual([plain]);
  expect(listed(world, TABLE)).toEqual([other]);
  expect(world.ask(ROUTER, 'ip', '-j', 'route', 'show', 'table', String(TABLE))).toMatchObject([
    { dst: '10.64.16.0/20' },
  ]);
  world.kernel.apply(diff([plain, other], [plain]));
  expect(listed(world)).toEqual([plain]);
  expect(listed(world, TABLE)).toEqual([]);
});

it('is found among others where it is a default one', () => {
  using world = new World();
  const all: Route = { ...plain, destination: parsePrefix('0.0.0.0/0') };
  world.kernel.apply(diff([], [plain, all]));
  const links = new Map<number, Link>([[BRIDGE.index, BRIDGE]]);
  const found = world.kernel.withSocket(ROUTER, (socket) => listRoutes(socket, ROUTER, links, { isDefault: true }));
  expect(found).toEqual([all]);
});
