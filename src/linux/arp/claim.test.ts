import { expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { announcement, claimedAddress, probe } from './claim.ts';

const OWN = parseMac('02:00:00:00:00:01');
const OTHER = parseMac('02:00:00:00:00:02');
const ADDRESS = parseIpv4('10.8.64.7');

it('takes every packet of a sender for a claim, whoever it is for', () => {
  const { packet } = announcement(OTHER, ADDRESS);
  expect(claimedAddress(packet, OWN)).toBe(ADDRESS);
  expect(claimedAddress({ ...packet, operation: 2, target: parseIpv4('10.8.64.1') }, OWN)).toBe(ADDRESS);
});

it("takes another's probe for a claim, but not its own, and no answer to nobody", () => {
  expect(claimedAddress(probe(OTHER, ADDRESS).packet, OWN)).toBe(ADDRESS);
  expect(claimedAddress(probe(OWN, ADDRESS).packet, OWN)).toBeUndefined();
  expect(claimedAddress({ ...probe(OTHER, ADDRESS).packet, operation: 2 }, OWN)).toBeUndefined();
});
