import { afterAll, beforeAll, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import type { Link } from '../../plan/state.ts';
import { NamespaceHandle } from '../namespace.ts';
import { NETLINK_ROUTE } from '../netlink/constants.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { createTap } from '../tap.ts';
import { linkIndex } from './ifreq.ts';
import { moveLink } from './move.ts';

let here: LabNamespace;
let there: LabNamespace;

beforeAll(async () => {
  [here, there] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
});
afterAll(async () => void (await Promise.all([here.close(), there.close()])));

function move(link: Link, index: number): void {
  using namespace = new NamespaceHandle(there.path);
  here.within(() => {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    socket.request(moveLink(link, index, namespace.fd));
  });
}

function indexIn(namespace: LabNamespace, name: string): number | undefined {
  return namespace.within(() => {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    return linkIndex(socket, name);
  });
}

it('gives a link the index that is chosen where it goes', () => {
  here.within(() => createTap({ name: 'wg0', index: 50 }));
  move({ name: 'wg0', index: 50 }, 909);
  expect([indexIn(here, 'wg0'), indexIn(there, 'wg0')]).toEqual([undefined, 909]);
});

it('leaves it where it is when its name or the index is taken there', () => {
  there.within(() => createTap({ name: 'wg1', index: 910 }));
  for (const [name, index, wanted, why] of [
    ['wg1', 51, 911, 'EEXIST'],
    ['wg2', 52, 910, 'EBUSY'],
  ] as const) {
    here.within(() => createTap({ name, index }));
    expect(() => move({ name, index }, wanted)).toThrow(`as link ${wanted}: ${why}`);
    expect(indexIn(here, name)).toBe(index);
  }
  expect([indexIn(there, 'wg1'), indexIn(there, 'wg2')]).toEqual([910, undefined]);
});
