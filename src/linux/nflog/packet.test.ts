import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Body, buildFragments, buildFrame } from '../../../lab/frame.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { readLoggedPacket } from './packet.ts';

/** ARP that port s3 of a bridge claims 10.8.64.9 with, as Linux 6.18 logged it. */
const CAPTURED = Uint8Array.from(
  [
    '07 00 00 01', // struct nfgenmsg: NFPROTO_BRIDGE, the group
    '08 00 01 00 08 06 00 00', // NFULA_PACKET_HDR
    '0c 00 0a 00 73 70 6f 6f 66 65 64 00', // NFULA_PREFIX
    '08 00 06 00 00 00 27 13', // NFULA_IFINDEX_PHYSINDEV
    '08 00 04 00 00 00 00 1e', // NFULA_IFINDEX_INDEV
    '10 00 08 00 00 06 00 00 02 00 00 00 09 09 00 00', // NFULA_HWADDR
    '06 00 0f 00 00 01 00 00', // NFULA_HWTYPE
    '06 00 11 00 00 0e 00 00', // NFULA_HWLEN
    '12 00 10 00 ff ff ff ff ff ff 02 00 00 00 09 09 08 06 00 00', // NFULA_HWHEADER
    '14 00 03 00 00 00 00 00 6b 06 ac 66 00 00 00 00 00 02 41 90', // NFULA_TIMESTAMP
    '08 00 0b 00 00 00 00 00', // NFULA_UID
    '08 00 0e 00 00 00 00 00', // NFULA_GID
    '08 00 0c 00 00 00 00 00', // NFULA_SEQ
    '12 00 15 00 ff ff ff ff ff ff 02 00 00 00 09 09 08 06 00 00', // NFULA_L2HDR
    '30 00 09 00 00 01 08 00 06 04 00 01', // NFULA_PAYLOAD
    '02 00 00 00 09 09 0a 08 40 09 ff ff ff ff ff ff 0a 08 40 09',
    '00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00',
  ]
    .join(' ')
    .split(' '),
  (byte) => Number.parseInt(byte, 16),
);

const PAYLOAD_AT = CAPTURED.length - 44;

it('reads a packet as the kernel logs it', () => {
  const address = parseIpv4('10.8.64.9');
  const mac = parseMac('02:00:00:00:09:09');
  expect(readLoggedPacket(CAPTURED)).toEqual({
    prefix: 'spoofed',
    inLink: 10_003,
    inBridge: 30,
    outLink: undefined,
    mac,
    etherType: 0x0806,
    source: address,
    destination: address,
    claimant: mac,
    protocol: undefined,
    port: undefined,
    quotedDestination: undefined,
    payload: CAPTURED.slice(PAYLOAD_AT),
    sequence: 0,
  });
});

/** The captured message with another packet in it: an Ethernet frame without its header. */
function withPacket(frame: Uint8Array): Uint8Array {
  const packet = frame.subarray(14);
  const bytes = new Uint8Array(PAYLOAD_AT + packet.length);
  bytes.set(CAPTURED.subarray(0, PAYLOAD_AT));
  bytes[9] = 0;
  bytes.set(packet, PAYLOAD_AT);
  new DataView(bytes.buffer).setUint16(PAYLOAD_AT - 4, 4 + packet.length, true);
  return bytes;
}

it('reads where a packet was to go, and what an error is about', () => {
  const addressed = {
    ether: { from: '02:00:00:00:00:01', to: '02:00:00:00:00:02' },
    from: '10.0.0.1',
    to: '192.0.2.7',
  };
  const read = (body: Body): ReturnType<typeof readLoggedPacket> =>
    readLoggedPacket(withPacket(buildFrame({ ...addressed, body })));
  const to = { source: parseIpv4('10.0.0.1'), destination: parseIpv4('192.0.2.7') };
  expect(read({ kind: 'udp', from: 5, to: 53, text: 'x' })).toMatchObject({ ...to, protocol: 17, port: 53 });
  expect(read({ kind: 'syn', from: 5, to: 443, segment: 1400 })).toMatchObject({ ...to, protocol: 6, port: 443 });
  const quoted = { from: '192.0.2.7', to: '10.0.0.9', ports: [1, 2] } as const;
  const error = { ...to, protocol: 1, port: undefined, quotedDestination: parseIpv4('10.0.0.9') };
  expect(read({ kind: 'icmp', type: 3, code: 3, quoted })).toMatchObject(error);
  expect(read({ kind: 'icmp', type: 8, code: 0, quoted })).toMatchObject({ ...error, quotedDestination: undefined });
  const udp = { kind: 'udp', from: 5, to: 53, text: 'a second fragment has no ports' } as const;
  const [first, second] = buildFragments({ ...addressed, body: udp }, 16, 7);
  expect(readLoggedPacket(withPacket(first))).toMatchObject({ protocol: 17, port: 53 });
  expect(readLoggedPacket(withPacket(second))).toMatchObject({ protocol: 17, port: undefined });
});

it('reads the message whatever the sender wrote into the packet', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 44 }), fc.constantFrom(0x00, 0x06, 0xdd), (payload, kind) => {
      const bytes = CAPTURED.slice(0, PAYLOAD_AT + payload.length).with(9, kind);
      bytes.set(payload, PAYLOAD_AT);
      new DataView(bytes.buffer).setUint16(PAYLOAD_AT - 4, 4 + payload.length, true);
      expect(readLoggedPacket(bytes)).toMatchObject({ inLink: 10_003, prefix: 'spoofed', payload });
    }),
    { numRuns: 2000 },
  );
});

it('reads whatever comes, or says that it cannot', () => {
  const mutated = fc
    .array(fc.tuple(fc.nat(CAPTURED.length - 1), fc.nat(255)), { maxLength: 4 })
    .map((changes) => changes.reduce((bytes, [at, value]) => bytes.with(at, value), CAPTURED));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
      try {
        readLoggedPacket(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
    { numRuns: 2000 },
  );
});
