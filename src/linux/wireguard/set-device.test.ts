import { expect, it } from 'vitest';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseIpv6 } from '../../addr/ipv6.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';
import { keyOf } from '../../plan/wireguard/key.ts';
import { MessageWriter } from '../netlink/message.ts';
import { portionsOf } from './portion.ts';
import { setDevice } from './set-device.ts';
import { hex } from './testing/hex.ts';

const key = (byte: number) => keyOf(new Uint8Array(32).fill(byte));

function written(...edits: Edit[]): Uint8Array[] {
  return portionsOf(edits).map((portion) => {
    const request = setDevice(28, { name: 'wg0', index: 909 }, portion);
    expect(request).toMatchObject({ attempt: 'set wg0', type: 28, flags: 0 });
    const writer = new MessageWriter();
    request.write(writer);
    return Uint8Array.from(writer.bytes);
  });
}

const HEADER = [
  '01 01 0000', // struct genlmsghdr: WG_CMD_SET_DEVICE, version 1
  '0800 0100 8d030000', // WGDEVICE_A_IFINDEX: 909
];

it('writes a key, a port and every kind of edit of a peer in one message', () => {
  const endpoint = { address: parseIpv4('192.0.2.2'), port: 51_821 };
  const edits: Edit[] = [
    { verb: 'set', privateKey: key(0x11), listenPort: 51_820 },
    { verb: 'remove', publicKey: key(0x22) },
    {
      verb: 'add',
      peer: {
        publicKey: key(0x33),
        presharedKey: key(0x44),
        endpoint,
        keepalive_s: 25,
        allowedIps: ['10.11.0.0/16', '10.12.0.1/32'].map(parseIpPrefix),
      },
    },
    { verb: 'change', peer: { publicKey: key(0x55), presharedKey: 'none', allowedIps: [] } },
    { verb: 'change', peer: { publicKey: key(0x66), keepalive_s: 0 } },
  ];
  const [message, ...others] = written(...edits);
  expect(others).toEqual([]);
  expect(message).toEqual(
    Uint8Array.from(
      hex(
        ...HEADER,
        `2400 0300 ${'11'.repeat(32)}`, // WGDEVICE_A_PRIVATE_KEY
        '0600 0600 6cca 0000', // WGDEVICE_A_LISTEN_PORT: 51820, padded
        '6c01 0880', // WGDEVICE_A_PEERS, nested
        '3000 0080', // the first peer, nested
        `2400 0100 ${'22'.repeat(32)}`, // WGPEER_A_PUBLIC_KEY
        '0800 0300 01000000', // WGPEER_A_FLAGS: WGPEER_F_REMOVE_ME
        'ac00 0080',
        `2400 0100 ${'33'.repeat(32)}`,
        '0800 0300 02000000', // WGPEER_F_REPLACE_ALLOWEDIPS
        `2400 0200 ${'44'.repeat(32)}`, // WGPEER_A_PRESHARED_KEY
        '1400 0400 0200 ca6d c0000202 0000000000000000', // WGPEER_A_ENDPOINT: struct sockaddr_in
        '0600 0500 1900 0000', // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: 25
        '3c00 0980', // WGPEER_A_ALLOWEDIPS, nested
        '1c00 0080 0600 0100 0200 0000', // the first, nested; WGALLOWEDIP_A_FAMILY: AF_INET
        '0800 0200 0a0b0000 0500 0300 10 000000', // WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK: 16
        '1c00 0080 0600 0100 0200 0000',
        '0800 0200 0a0c0001 0500 0300 20 000000',
        '5400 0080',
        `2400 0100 ${'55'.repeat(32)}`,
        '0800 0300 06000000', // WGPEER_F_REPLACE_ALLOWEDIPS and WGPEER_F_UPDATE_ONLY
        `2400 0200 ${'00'.repeat(32)}`, // no preshared key
        '3800 0080',
        `2400 0100 ${'66'.repeat(32)}`,
        '0800 0300 04000000', // WGPEER_F_UPDATE_ONLY
        '0600 0500 0000 0000', // no keepalive
      ),
    ),
  );
});

it('writes a mark, and addresses of IPv6', () => {
  const endpoint = { address: parseIpv6('fe80::1'), port: 51_821, scopeId: 3 };
  const allowedIps = ['2001:db8::/32', '10.0.0.0/8'].map(parseIpPrefix);
  const [message] = written(
    { verb: 'set', fwMark: 0xca6c },
    { verb: 'change', peer: { publicKey: key(0x22), endpoint, allowedIps } },
  );
  expect(message).toEqual(
    Uint8Array.from(
      hex(
        ...HEADER,
        '0800 0700 6cca0000', // WGDEVICE_A_FWMARK
        '9c00 0880 9800 0080',
        `2400 0100 ${'22'.repeat(32)}`,
        '0800 0300 06000000', // WGPEER_F_REPLACE_ALLOWEDIPS and WGPEER_F_UPDATE_ONLY
        // WGPEER_A_ENDPOINT: struct sockaddr_in6, whose flow label and scope stand around its address
        '2000 0400 0a00 ca6d 00000000 fe800000000000000000000000000001 03000000',
        '4800 0980',
        '2800 0080 0600 0100 0a00 0000', // WGALLOWEDIP_A_FAMILY: AF_INET6
        '1400 0200 20010db8000000000000000000000000 0500 0300 20 000000',
        '1c00 0080 0600 0100 0200 0000',
        '0800 0200 0a000000 0500 0300 08 000000',
      ),
    ),
  );
});

it('writes what is the device’s own after peers only in a message of its own', () => {
  const [first, second] = written({ verb: 'remove', publicKey: key(0x22) }, { verb: 'set', listenPort: 1 });
  const removal = `3400 0880 3000 0080 2400 0100 ${'22'.repeat(32)} 0800 0300 01000000`;
  expect(first).toEqual(Uint8Array.from(hex(...HEADER, removal)));
  expect(second).toEqual(Uint8Array.from(hex(...HEADER, '0600 0600 0100 0000')));
});

it('writes nothing for nothing', () => {
  expect(written()).toEqual([]);
});
