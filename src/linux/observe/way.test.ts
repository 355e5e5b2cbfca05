import { afterAll, beforeAll, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { formatIp, parseIp } from '../../addr/ip.ts';
import { ROOT } from '../../plan/state.ts';
import { NETLINK_ROUTE } from '../netlink/constants.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { listRoutes } from './routes.ts';
import { findWay, type Way } from './way.ts';

let host: LabNamespace;

beforeAll(async () => {
  host = await LabNamespace.make();
  host.ip(
    'tuntap add mode tun name t0',
    'link add v0 type veth peer v1',
    'link set t0 up',
    'link set v1 up',
    'link set v0 up',
    'address add 10.9.0.2/32 dev t0',
    'address add fd00:9::2/128 dev t0',
    'address add 192.0.2.2/24 dev v0',
    'address add 2001:db8::2/64 dev v0 nodad',
    'route add default via 192.0.2.1',
    'route add default via 2001:db8::1',
    'route add default dev t0 table 51820 mtu 1280',
    'rule add not fwmark 51820 table 51820',
    'rule add table main suppress_prefixlength 0',
    'route add 203.0.113.0/24 via 192.0.2.7 mtu 1400',
    'route add 198.51.100.0/24 via inet6 2001:db8::9 dev v0',
    'route add 2001:db8:5::/48 via 2001:db8::9 mtu 1380 src 2001:db8::2',
    'route add blackhole 10.66.0.0/16',
    'route add unreachable 10.67.0.0/16',
    'route add prohibit 10.68.0.0/16',
    'route add blackhole 2001:db8:66::/48',
    'route add unreachable 2001:db8:67::/48',
    'route add prohibit 2001:db8:68::/48',
  );
  // of which no prefix says so
  for (const line of [
    'route add default dev t0 table 51820',
    'rule add not fwmark 51820 table 51820',
    'rule add table main suppress_prefixlength 0',
  ]) {
    host.run('ip', '-6', ...line.split(' '));
  }
});
afterAll(() => host.close());

type Shown = { dev: string; gateway?: string; via?: { host: string }; prefsrc?: string; metrics?: { mtu?: number }[] };

function ask(address: string, mark?: number): Way | undefined {
  return host.within(() => {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    // from now on the kernel is strict with what the socket asks
    listRoutes(socket, ROOT, new Map(), { family: 'inet6', table: 'each', protocol: 'each' });
    return findWay(socket, parseIp(address), mark);
  });
}

it.each<[string, number?]>([
  ['1.1.1.1'],
  ['1.1.1.1', 51_820],
  ['2606:4700::1'],
  ['2606:4700::1', 51_820],
  ['192.0.2.9'],
  ['2001:db8::9'],
  ['203.0.113.5'],
  ['198.51.100.5'],
  ['2001:db8:5::5', 7],
  ['10.9.0.2'],
  ['fd00:9::2'],
  ['127.0.0.1'],
])('is what `ip route get %s mark %s` says', (address, mark) => {
  const words = mark === undefined ? [] : ['mark', String(mark)];
  const [shown] = JSON.parse(host.run('ip', '-j', 'route', 'get', address, ...words)) as [Shown];
  const way = ask(address, mark);
  expect(way?.link.name).toBe(shown.dev);
  expect(way?.via && formatIp(way.via)).toBe(shown.gateway ?? shown.via?.host);
  expect(way?.source && formatIp(way.source)).toBe(shown.prefsrc);
  expect(way?.mtu).toBe(shown.metrics?.[0]?.mtu);
});

it('says which table decided', () => {
  expect(ask('1.1.1.1')?.table).toBe(51_820);
  expect(ask('1.1.1.1', 51_820)).toMatchObject({ table: 254, via: parseIp('192.0.2.1') });
  expect(ask('2606:4700::1')?.table).toBe(51_820);
  expect(ask('2606:4700::1', 51_820)).toMatchObject({ table: 254, link: { name: 'v0' } });
});

it.each(['10.66.0.1', '10.67.0.1', '10.68.0.1', '2001:db8:66::1', '2001:db8:67::1', '2001:db8:68::1'])(
  'is none to %s, a dead end',
  (address) => {
    expect(ask(address)).toBeUndefined();
    expect(() => host.run('ip', 'route', 'get', address)).toThrow('RTNETLINK');
  },
);

it('is none in a namespace that leads nowhere', async () => {
  const empty = await LabNamespace.make();
  empty.within(() => {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    expect(findWay(socket, parseIp('192.0.2.1'))).toBeUndefined();
    expect(findWay(socket, parseIp('2001:db8::1'))).toBeUndefined();
  });
  await empty.close();
});
