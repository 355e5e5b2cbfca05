import { expect, it } from 'vitest';
import { readAttributes, readString, readU32 } from './attribute.ts';
import { NETLINK_ROUTE } from './constants.ts';
import { MessageWriter, readMessages } from './message.ts';
import { NetlinkSocket } from './socket.ts';

/** linux/rtnetlink.h, linux/if_link.h */
const RTM_GETLINK = 18;
const RTM_DELLINK = 17;
const IFLA_IFNAME = 3;

it('dumps the links of its namespace', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const request = {
    attempt: 'list links',
    type: RTM_GETLINK,
    flags: 0,
    write: (w: MessageWriter) => void w.raw(new Uint8Array(16)),
  };
  const names = socket.dump(request, (message) =>
    readString(readAttributes(message.body, 16).get(IFLA_IFNAME) ?? new Uint8Array()),
  );
  expect(names).toContain('lo');
});

function write(writer: MessageWriter): void {
  writer.raw(new Uint8Array(16)).attrString(IFLA_IFNAME, 'no-such-link');
}

it('names the operation and the errno when the kernel refuses', () => {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const request = { attempt: 'delete link no-such-link', type: RTM_DELLINK, flags: 0, write };
  expect(() => socket.request(request)).toThrow(/^Cannot delete link no-such-link: ENODEV/);
});

it('reads back what was written', () => {
  const writer = new MessageWriter();
  writer
    .begin(7, 1, 9)
    .nest(1, (nest) => nest.attrU32(2, 0xfffffffe).attrString(3, 'eth0'))
    .end();
  const [message] = [...readMessages(writer.bytes)];
  const inner = readAttributes(readAttributes(message?.body ?? new Uint8Array()).get(1) ?? new Uint8Array());
  expect(readU32(inner.get(2) ?? new Uint8Array(4))).toBe(0xfffffffe);
  expect(readString(inner.get(3) ?? new Uint8Array())).toBe('eth0');
});
