import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { World } from '../../../lab/world.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { diff } from '../../plan/diff.ts';
import { type KernelObject, ROOT, ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { useOwnNamespace } from '../nftables/testing/own-namespace.ts';
import { listRemotes } from '../observe/attached.ts';

useOwnNamespace();

const LINK = { name: 'wc-test', index: 9_000 };
const MAC = parseMac('02:cd:0a:40:10:00');
const PEER = parseMac('02:cd:0a:40:20:00');
const PORT = 51_999;

/** The kernel takes its time with one whose namespace has gone, and has no two with one number and port. */
function vxlanOf(vni: number): KernelObject {
  const end = { namespace: ROUTER, link: LINK, mac: MAC, mtu: 1420, up: true };
  return { kind: 'vxlan', outside: ROOT, ...end, vni, port: PORT };
}

function entry(address: string, port: number): KernelObject & { kind: 'fdb' } {
  return { kind: 'fdb', namespace: ROUTER, link: LINK, mac: PEER, remote: { address: parseIpv4(address), port } };
}

function vxlansIn(world: World): KernelObject[] {
  return world.kernel.find(ROUTER, [vxlanOf(0)]).objects.filter(({ kind }) => kind === 'vxlan');
}

it('is what iproute2 sees, with its socket where it was born', () => {
  using world = new World();
  world.kernel.apply(diff([], [vxlanOf(1)]));
  const data = { id: 1, port: PORT, learning: false, df: 'set', udp_csum: true };
  expect(world.ask(ROUTER, 'ip', '-j', '-d', 'link', 'show', 'wc-test')).toMatchObject([
    {
      ifindex: 9_000,
      mtu: 1420,
      address: '02:cd:0a:40:10:00',
      linkinfo: { info_kind: 'vxlan', info_data: data },
      inet6_addr_gen_mode: 'none',
      flags: expect.arrayContaining(['UP']),
    },
  ]);
  // its sockets of UDP, with ports in hexadecimal digits
  const port = `:${PORT.toString(16).toUpperCase()} `;
  expect(readFileSync('/proc/thread-self/net/udp', 'utf8')).toContain(port);
  expect(world.kernel.inside(ROUTER, () => readFileSync('/proc/thread-self/net/udp', 'utf8'))).not.toContain(port);
});

it('is read back as it was described, changed in place where that goes, and made anew where it does not', () => {
  using world = new World();
  const vxlan = vxlanOf(12_345);
  world.kernel.apply(diff([], [vxlan]));
  expect(vxlansIn(world)).toEqual([vxlan]);
  world.run(ROUTER, 'ip', 'link', 'set', 'wc-test', 'mtu', '1400');
  const change = diff(vxlansIn(world), [vxlan]);
  expect(planText(change)).toBe('ip -n router link change wc-test index 9000 address 02:cd:0a:40:10:00 mtu 1420 up');
  world.kernel.apply(change);
  expect(vxlansIn(world)).toEqual([vxlan]);
  world.run(ROUTER, 'ip', 'link', 'set', 'wc-test', 'type', 'vxlan', 'learning');
  const repair = diff(vxlansIn(world), [vxlan]);
  expect(planText(repair)).toBe(
    'ip -n router link delete wc-test\n' +
      'ip link add wc-test index 9000 address 02:cd:0a:40:10:00 mtu 1420 up netns router type vxlan id 12345 dstport 51999 nolearning df set udpcsum',
  );
  world.kernel.apply(repair);
  expect(vxlansIn(world)).toEqual([vxlan]);
});

it('is another link where it was born elsewhere', () => {
  using world = new World();
  const here = ['type', 'vxlan', 'id', '3', 'dstport', String(PORT), 'nolearning', 'df', 'set', 'udpcsum'];
  world.run(ROUTER, 'ip', 'link', 'add', 'wc-test', 'index', '9000', ...here);
  expect(vxlansIn(world)).toMatchObject([{ vni: 0, port: 0 }]);
});

it('sends a frame to the host that its database has, and to no other', () => {
  using world = new World();
  world.kernel.apply(diff([], [vxlanOf(4), entry('192.0.2.12', PORT)]));
  const shown = (): unknown => world.ask(ROUTER, 'bridge', '-j', 'fdb', 'show', 'dev', 'wc-test');
  const listed = (): KernelObject[] =>
    world.kernel.withSocket(ROUTER, (socket) => listRemotes(socket, ROUTER, LINK, PORT));
  const common = { mac: '02:cd:0a:40:20:00', flags: ['self'], state: 'permanent' };
  expect(shown()).toMatchObject([{ ...common, dst: '192.0.2.12' }]);
  expect(listed()).toEqual([entry('192.0.2.12', PORT)]);
  const move = diff(listed(), [entry('192.0.2.13', 52_000)]);
  expect(planText(move)).toBe(
    'bridge -n router fdb replace 02:cd:0a:40:20:00 dev wc-test self permanent dst 192.0.2.13 port 52000',
  );
  world.kernel.apply(move);
  expect(shown()).toMatchObject([{ ...common, dst: '192.0.2.13', port: 52_000 }]);
  expect(listed()).toEqual([entry('192.0.2.13', 52_000)]);
  world.run(ROUTER, 'bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'wc-test', 'dst', '192.0.2.66');
  const strays = diff(listed(), [entry('192.0.2.13', 52_000)]);
  expect(planText(strays)).toBe('bridge -n router fdb delete 00:00:00:00:00:00 dev wc-test self');
  world.kernel.apply([...strays, { verb: 'delete', object: entry('192.0.2.13', 52_000) }]);
  expect(shown()).toEqual([]);
});
