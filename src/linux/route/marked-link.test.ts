import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { ROOT } from '../../plan/state.ts';
import { NETLINK_ROUTE } from '../netlink/constants.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { useOwnNamespace } from '../nftables/testing/own-namespace.ts';
import { findLinkNamed, listLinks, type SeenLink } from '../observe/links.ts';
import { hasKernelWireguard } from '../wireguard/kernel.ts';
import { deleteLink, setAlias } from './link.ts';
import { makeMarkedLink } from './marked-link.ts';

useOwnNamespace();

function ip(...args: string[]): unknown {
  const text = execFileSync('ip', ['-j', '-d', ...args], { encoding: 'utf8', stdio: 'pipe' });
  return JSON.parse(text === '' ? '[]' : text);
}

function seen(name: string): SeenLink | undefined {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return findLinkNamed(socket, ROOT, name);
}

it('has its mark, its name and an index that the kernel chose', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const link = makeMarkedLink(socket, { kind: 'bridge', name: 'm0', alias: 'culvert tunnel café' });
  expect(link).toEqual({ name: 'm0', index: expect.any(Number) });
  const shown = { ifindex: link.index, ifalias: 'culvert tunnel café', linkinfo: { info_kind: 'bridge' } };
  expect(ip('link', 'show', 'm0')).toMatchObject([shown]);
  expect(seen('m0')).toMatchObject({
    end: { link, mtu: 1500, up: false },
    kind: 'bridge',
    alias: 'culvert tunnel café',
  });
  expect(listLinks(socket, ROOT).map((one) => [one.end.link.name, one.kind, one.alias])).toEqual(
    expect.arrayContaining([
      ['lo', undefined, ''],
      ['m0', 'bridge', 'culvert tunnel café'],
    ]),
  );
  socket.request(deleteLink(link));
  expect(seen('m0')).toBeUndefined();
});

it('leaves another of its name alone, and nothing of itself', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const other = makeMarkedLink(socket, { kind: 'bridge', name: 'm1', alias: 'another’s' });
  const before = ip('link');
  const again = (): unknown => makeMarkedLink(socket, { kind: 'bridge', name: 'm1', alias: 'ours' });
  expect(again).toThrow(/name link cv.* m1: EEXIST/);
  expect(() => makeMarkedLink(socket, { kind: 'no-such', name: 'm2', alias: '' })).toThrow('EOPNOTSUPP');
  expect(() => makeMarkedLink(socket, { kind: 'bridge', name: 'm2', alias: 'é'.repeat(128) })).toThrow('256 bytes');
  expect(ip('link')).toEqual(before);
  socket.request(deleteLink(other));
});

it('has a mark that can be set, as long as may be, and taken away', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const link = makeMarkedLink(socket, { kind: 'bridge', name: 'm3', alias: '' });
  for (const alias of ['x'.repeat(255), 'short', '']) {
    socket.request(setAlias(link, alias));
    expect(seen('m3')?.alias).toBe(alias);
  }
  expect(ip('link', 'show', 'm3')).not.toMatchObject([{ ifalias: expect.anything() as unknown }]);
  socket.request(deleteLink(link));
});

it('may be a WireGuard of the kernel’s, where there is one', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const make = (): unknown => makeMarkedLink(socket, { kind: 'wireguard', name: 'wgm0', alias: 'ours' });
  if (!hasKernelWireguard()) {
    expect(make).toThrow('EOPNOTSUPP');
    return;
  }
  make();
  expect(seen('wgm0')).toMatchObject({ kind: 'wireguard', alias: 'ours' });
});
