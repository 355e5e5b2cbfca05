import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { type Prefix, parsePrefix, prefixAround } from '../../addr/prefix.ts';
import type { Device, SeenDevice } from '../../plan/wireguard/device.ts';
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
  allowedIps: [parsePrefix('10.11.0.0/16')],
  foreignIps: 1,
  lastHandshakeMs: 0,
  received: 0,
  sent: 148,
};
const second = {
  publicKey: keyOf(new Uint8Array(32).fill(0x44)),
  keepalive_s: 0,
  allowedIps: [],
  foreignIps: 0,
  lastHandshakeMs: 0,
  received: 0,
  sent: 0,
};
const own = { privateKey: keyOf(hex('10', '11'.repeat(30), '51')), listenPort: 51_820 };

it('reads a device as the kernel sends it', () => {
  const peers = new Map([first, second].map((peer) => [peer.publicKey, peer]));
  expect(joinParts([readDevicePart(CAPTURED)])).toEqual({ ...own, peers });
});

it('joins a peer that goes on in the next message', () => {
  const whole = { ...first, allowedIps: [...first.allowedIps, parsePrefix('10.12.1.0/24')] };
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

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => keyOf(bytes.with(0, 1)));
const prefix = fc
  .tuple(fc.nat(0xffffffff), fc.nat(32))
  .map(([address, length]): Prefix => prefixAround(address as Ipv4, length));
const peer = fc.record(
  {
    publicKey: key,
    presharedKey: key,
    endpoint: fc.record({ address: fc.nat(0xffffffff).map((address) => address as Ipv4), port: fc.nat(0xffff) }),
    keepalive_s: fc.nat(0xffff),
    allowedIps: fc.oneof({ weight: 9, arbitrary: fc.array(prefix, { maxLength: 20 }) }, fc.nat(6000).map(prefixes)),
  },
  { requiredKeys: ['publicKey', 'keepalive_s', 'allowedIps'] },
);
const device = fc.record({
  privateKey: key,
  listenPort: fc.nat(0xffff),
  peers: fc
    .uniqueArray(peer, { maxLength: 8, selector: ({ publicKey }) => publicKey })
    .map((peers) => new Map(peers.map((one) => [one.publicKey, one]))),
});

function prefixes(count: number): Prefix[] {
  return Array.from({ length: count }, (_, index) => prefixAround((0x0a000000 + index * 256) as Ipv4, 24));
}

/** What a device that is told all of it in messages would send, were it to send them back. */
function throughMessages({ privateKey, listenPort, peers }: Device): SeenDevice {
  const edits: Edit[] = [
    { verb: 'set', privateKey, listenPort },
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
      const unseen = { foreignIps: 0, lastHandshakeMs: 0, received: 0, sent: 0 };
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
