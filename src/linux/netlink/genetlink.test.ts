import { expect, it } from 'vitest';
import { GENL_ID_CTRL, NETLINK_GENERIC } from './constants.ts';
import { familyId } from './genetlink.ts';
import { NetlinkSocket } from './socket.ts';

it('finds a family by its name, and none where there is none', () => {
  using socket = new NetlinkSocket(NETLINK_GENERIC);
  // the family that knows the others is the only one whose number stands in a header
  expect(familyId(socket, 'nlctrl')).toBe(GENL_ID_CTRL);
  expect(familyId(socket, 'no-such-thing')).toBeUndefined();
});
