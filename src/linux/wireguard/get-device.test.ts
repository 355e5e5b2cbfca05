import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type IpPrefix, ipPrefixAround, parseIpPrefix } from '../../addr/ip-prefix.ts';
import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../addr/ipv6.ts';
import type { Device, Endpoint, SeenDevice } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';
import { keyOf } from '../../plan/wireguard/key.ts';
import { MessageWriter } from '../netlink/message.ts';
import { joinParts, readDevicePart } from './get-device.ts';
import { portionsOf } from './portion.ts';
import { setDevice } from './set-device.ts';
import { hex } from './testing/hex.ts';

/** A device with two peers, as Linux 6.1 sent it. */
const CAPTURED = hex(
  '00 01 0000', // struct genlmsghdr: WG_CMD_GET_DEVICE, version 1
  '0600 0600 6cca 0000', // WGDEVICE_A_LISTEN_PORT: 51820
  '0800 0700 00000000', // WGDEVICE_A_FWMARK
  '0800 0100 8d030000', // WGDEVICE_A_IFINDEX
  '0800 0200 77673000', // WGDEVICE_A_IFNAME
  `2400 0300 10 ${'11'.repeat(30)} 51`, // WGDEVICE_A_PRIVATE_KEY, clamped
  '2400 0400 7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13', // WGDEVICE_A_PUBLIC_KEY
  '7001 0880', // WGDEVICE_A_PEERS, nested
  'e400 0080', // the first peer, nested
  `2400 0100 ${'22'.repeat(32)}`, // WGPEER_A_PUBLIC_KEY
  `2400 0200 ${'33'.repeat(32)}`, // WGPEER_A_PRESHARED_KEY
  '1400 0600 0000000000000000 0000000000000000', // WGPEER_A_LAST_HANDSHAKE_TIME: struct __kernel_timespec
  '0600 0500 1900 0000', // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: 25
  '0c00 0800 9400000000000000', // WGPEER_A_TX_BYTES
  '0c00 0700 0000000000000000', // WGPEER_A_RX_BYTES
  '0800 0a00 01000000', // WGPEER_A_PROTOCOL_VERSION
  '1400 0400 0200 ca6d c0000202 0000000000000000', // WGPEER_A_ENDPOINT: struct sockaddr_in
  '4800 0980', // WGPEER_A_ALLOWEDIPS, nested
  '2800 0080 0500 0300 40 000000 0600 0100 0a00 0000', // one of IPv6, whose address has 16 bytes
  '1400 0200 fd000000000000000000000000000000',
  '1c00 0080 0500 0300 10 000000 0600 0100 0200 0000 0800 0200 0a0b0000',
  '8800 0080', // the second peer
  `2400 0100 ${'44'.repeat(32)}`,
  `2400 0200 ${'00'.repeat(32)}`, // it has no preshared key
  '1400 0600 0000000000000000 0000000000000000',
  '0600 0500 0000 0000',
  '0c00 0800 0000000000000000',
  '0c00 0700 0000000000000000',
  '0800 0a00 01000000',
);

/** The same peer in the next message, made up: the kernel sends one for a peer with very many. */
const CONTINUED = hex(
  '00 01 0000',
  '4c00 0880',
  '4800 0080',
  `2400 0100 ${'22'.repeat(32)}`,
  '2000 0980',
  '1c00 0080 0500 0300 18 000000 0600 0100 0200 0000 0800 0200 0a0c0100',
);

const first = {
  publicKey: keyOf(new Uint8Array(32).fill(0x22)),
  presharedKey: keyOf(new Uint8Array(32).fill(0x33)),
  endpoint: { address: parseIpv4('192.0.2.2'), port: 51_821 },
  keepalive_s: 25,
  allowedIps: ['fd00::/64', '10.11.0.0/16'].map(parseIpPrefix),
  lastHandshakeMs: 0,
  received: 0,
  sent: 148,
};
const second = {
  publicKey: keyOf(new Uint8Array(32).fill(0x44)),
  keepalive_s: 0,
  allowedIps: [],
  lastHandshakeMs: 0,
  received: 0,
  sent: 0,
};
const own = { privateKey: keyOf(hex('10', '11'.repeat(30), '51')), listenPort: 51_820, fwMark: 0 };

it('reads a device as the kernel sends it', () => {
  const peers = new Map([first, second].map((peer) => [peer.publicKey, peer]));
  expect(joinParts([readDevicePart(CAPTURED)])).toEqual({ ...own, peers });
});

it('joins a peer that goes on in the next message', () => {
  const whole = { ...first, allowedIps: [...first.allowedIps, parseIpPrefix('10.12.1.0/24')] };
  const peers = new Map([whole, second].map((peer) => [peer.publicKey, peer]));
  expect(joinParts([CAPTURED, CONTINUED].map(readDevicePart))).toEqual({ ...own, peers });
});

it('reads when there was a handshake, and how many bytes there were', () => {
  const time = '0100000000000000 80b2e60e00000000'; // 1 s and 250,000,000 ns
  const bytes = hex(
    '00 01 0000',
    '5800 0880',
    '5400 0080',
    `2400 0100 ${'44'.repeat(32)}`,
    `1400 0600 ${time}`,
    '0c00 0800 0000000001000000',
    '0c00 0700 ffffffff00000000',
  );
  const [seen] = readDevicePart(bytes).peers;
  expect(seen).toEqual({ ...second, lastHandshakeMs: 1250, sent: 2 ** 32, received: 2 ** 32 - 1 });
});

it('reads where a peer of IPv6 is, and by which link; a mark of 32 bits', () => {
  const bytes = hex(
    '00 01 0000',
    '0800 0700 efbeadde', // WGDEVICE_A_FWMARK
    '4c00 0880',
    '4800 0080',
    `2400 0100 ${'44'.repeat(32)}`,
    '2000 0400 0a00 ca6d 00000000 fe800000000000000000000000000001 03000000', // struct sockaddr_in6
  );
  const endpoint = { address: parseIpv6('fe80::1'), port: 51_821, scopeId: 3 };
  const seen = joinParts([readDevicePart(bytes)]);
  expect(seen).toEqual({
    listenPort: 0,
    fwMark: 0xdeadbeef,
    peers: new Map([[second.publicKey, { ...second, endpoint }]]),
  });
});

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => keyOf(bytes.with(0, 1)));
const ipv4 = fc.nat(0xffffffff).map((address) => address as Ipv4);
const ipv6 = fc.bigInt(0n, (1n << 128n) - 1n).map((address) => address as Ipv6);
const prefix = fc
  .oneof(fc.tuple(ipv4, fc.nat(32)), fc.tuple(ipv6, fc.nat(128)))
  .map(([address, length]) => ipPrefixAround(address, length));
const port = fc.nat(0xffff);
const endpoint: fc.Arbitrary<Endpoint> = fc.oneof(
  fc.record({ address: ipv4, port }),
  fc.record(
    { address: ipv6, port, scopeId: fc.integer({ min: 1, max: 0xffffffff }) },
    { requiredKeys: ['address', 'port'] },
  ),
);
const peer = fc.record(
  {
    publicKey: key,
    presharedKey: key,
    endpoint,
    keepalive_s: fc.nat(0xffff),
    allowedIps: fc.oneof({ weight: 9, arbitrary: fc.array(prefix, { maxLength: 20 }) }, fc.nat(6000).map(prefixes)),
  },
  { requiredKeys: ['publicKey', 'keepalive_s', 'allowedIps'] },
);
const device = fc.record({
  privateKey: key,
  listenPort: port,
  fwMark: fc.nat(0xffffffff),
  peers: fc
    .uniqueArray(peer, { maxLength: 8, selector: ({ publicKey }) => publicKey })
    .map((peers) => new Map(peers.map((one) => [one.publicKey, one]))),
});

function prefixes(count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => ipPrefixAround((0x0a000000 + index * 256) as Ipv4, 24));
}

/** What a device that is told all of it in messages would send, were it to send them back. */
function throughMessages({ privateKey, listenPort = 0, fwMark = 0, peers }: Device): SeenDevice {
  const edits: Edit[] = [
    { verb: 'set', privateKey, listenPort, fwMark },
    ...[...peers.values()].map((one): Edit => ({ verb: 'add', peer: one })),
  ];
  const parts = portionsOf(edits).map((portion) => {
    const writer = new MessageWriter();
    setDevice(28, { name: 'wg0', index: 909 }, portion).write(writer);
    return readDevicePart(writer.bytes);
  });
  return joinParts(parts);
}

it('reads back what was written, however many messages that takes', () => {
  fc.assert(
    fc.property(device, (desired) => {
      const unseen = { lastHandshakeMs: 0, received: 0, sent: 0 };
      const peers = new Map([...desired.peers].map(([publicKey, one]) => [publicKey, { ...one, ...unseen }]));
      expect(throughMessages(desired)).toEqual({ ...desired, peers });
    }),
  );
});

const anything = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .array(fc.tuple(fc.nat(CAPTURED.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    .map((changes) => changes.reduce((bytes, [at, value]) => bytes.with(at, value), Uint8Array.from(CAPTURED))),
  fc.nat(CAPTURED.length).map((length) => CAPTURED.subarray(0, length)),
);

it('reads whatever comes, or says that it cannot', () => {
  fc.assert(
    fc.property(anything, (bytes) => {
      try {
        joinParts([readDevicePart(bytes)]);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }),
    { numRuns: 5000 },
  );
});
