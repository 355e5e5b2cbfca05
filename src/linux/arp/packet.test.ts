import fc from 'fast-check';
import { expect, it } from 'vitest';
import { buildArp } from '../../../lab/frame.ts';
import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { type Mac, parseMac } from '../../addr/mac.ts';
import { announcement, probe } from './claim.ts';
import { type ArpFrame, readArp, readArpFrame, writeArpFrame } from './packet.ts';

const MAC = '02:fc:00:00:00:06';
const EVERYONE = 'ff:ff:ff:ff:ff:ff';
const ADDRESS = '10.8.64.7';

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => bytes as Mac);
const ipv4 = fc.nat(0xffffffff).map((value) => value as Ipv4);
const packet = fc.record({
  operation: fc.nat(0xffff),
  senderMac: mac,
  sender: ipv4,
  targetMac: mac,
  target: ipv4,
});
const frame: fc.Arbitrary<ArpFrame> = fc.record({ destination: mac, source: mac, packet });

it('writes a probe and an announcement as RFC 5227 has them', () => {
  const ether = { from: MAC, to: EVERYONE };
  const address = parseIpv4(ADDRESS);
  const asked = buildArp(ether, 1, { mac: MAC, ip: '0.0.0.0' }, ADDRESS);
  expect(writeArpFrame(probe(parseMac(MAC), address))).toEqual(asked);
  const said = buildArp(ether, 1, { mac: MAC, ip: ADDRESS }, ADDRESS);
  expect(writeArpFrame(announcement(parseMac(MAC), address))).toEqual(said);
});

it('reads what it wrote, padded or not', () => {
  fc.assert(
    fc.property(frame, fc.nat(18), (written, padding) => {
      const bytes = writeArpFrame(written);
      expect(readArpFrame(Uint8Array.of(...bytes, ...new Uint8Array(padding)))).toEqual(written);
    }),
  );
});

it('reads nothing from what is cut short or of another kind', () => {
  const whole = writeArpFrame(probe(parseMac(MAC), parseIpv4(ADDRESS)));
  for (let length = 0; length < whole.length; length++) {
    expect(readArpFrame(whole.subarray(0, length))).toBeUndefined();
  }
  // EtherType, hardware type, protocol type, and the lengths of both addresses
  for (let at = 12; at < 20; at++) expect(readArpFrame(whole.with(at, 77))).toBeUndefined();
});

it('reads whatever comes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      expect(readArp(bytes)?.target ?? 0).toBeGreaterThanOrEqual(0);
      expect(readArpFrame(bytes)?.packet.target ?? 0).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 2000 },
  );
});
