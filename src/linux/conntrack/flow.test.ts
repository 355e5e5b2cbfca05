import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { readFlow } from './flow.ts';
import { holdsAddress } from './match.ts';

/** A flow of UDP whose source is translated, in zone 9, as Linux 6.18 sent it. */
const CAPTURED = Uint8Array.from(
  [
    '02 00 00 00', // struct nfgenmsg: AF_INET
    '34 00 01 80', // CTA_TUPLE_ORIG
    '14 00 01 80 08 00 01 00 0a 01 00 03 08 00 02 00 c0 00 02 07', // CTA_TUPLE_IP: 10.1.0.3, 192.0.2.7
    '1c 00 02 80 05 00 01 00 11 00 00 00 06 00 02 00 03 e8 00 00 06 00 03 00 00 4d 00 00', // CTA_TUPLE_PROTO
    '34 00 02 80', // CTA_TUPLE_REPLY
    '14 00 01 80 08 00 01 00 c0 00 02 07 08 00 02 00 c0 00 02 01',
    '1c 00 02 80 05 00 01 00 11 00 00 00 06 00 02 00 00 4d 00 00 06 00 03 00 03 e8 00 00',
    '06 00 12 00 00 09 00 00', // CTA_ZONE
    '08 00 03 00 00 00 01 98', // CTA_STATUS
    '08 00 08 00 00 00 00 00', // CTA_MARK
    '08 00 0c 00 eb d7 3b 89', // CTA_ID
    '08 00 0b 00 00 00 00 01', // CTA_USE
    '08 00 07 00 00 01 51 7f', // CTA_TIMEOUT
  ]
    .join(' ')
    .split(' '),
  (byte) => Number.parseInt(byte, 16),
);

it('reads a flow as the kernel sends it', () => {
  const client = parseIpv4('10.1.0.3');
  const server = parseIpv4('192.0.2.7');
  expect(readFlow(CAPTURED)).toEqual({
    id: 0xebd73b89,
    protocol: 17,
    zone: 9,
    original: { source: client, destination: server, sourcePort: 1000, destinationPort: 77, zone: undefined },
    reply: {
      source: server,
      destination: parseIpv4('192.0.2.1'),
      sourcePort: 77,
      destinationPort: 1000,
      zone: undefined,
    },
    key: CAPTURED.slice(8, 56),
  });
});

const anything = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .array(fc.tuple(fc.nat(CAPTURED.length - 1), fc.nat(255)), { maxLength: 4 })
    .map((changes) => changes.reduce((bytes, [at, value]) => bytes.with(at, value), CAPTURED)),
);

/** The result, or undefined where it was a RangeError; anything else is raised. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

it('reads whatever comes, or says that it cannot', () => {
  fc.assert(
    fc.property(anything, (bytes) => void attempt(() => readFlow(bytes))),
    { numRuns: 2000 },
  );
});

it('finds addresses where reading the flow finds them', () => {
  const few = ['10.1.0.3', '192.0.2.7', '192.0.2.1', '10.1.0.4'].map(parseIpv4);
  fc.assert(
    fc.property(anything, fc.subarray(few), (bytes, addresses) => {
      const found = attempt(() => holdsAddress(bytes, new Set(addresses)));
      const flow = attempt(() => readFlow(bytes));
      if (flow === undefined) return;
      const all = [flow.original, flow.reply].flatMap(({ source, destination }) => [source, destination]);
      expect(found).toBe(all.some((address) => addresses.includes(address)));
    }),
    { numRuns: 2000 },
  );
});
