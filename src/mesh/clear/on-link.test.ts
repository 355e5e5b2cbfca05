import { expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { type KernelObject, ROOT } from '../../plan/state.ts';
import { isOnLink } from './on-link.ts';

function address(name: string, text: string, length: number): KernelObject {
  return { kind: 'address', namespace: ROOT, link: { name, index: name.length }, address: parseIpv4(text), length };
}

const OBJECTS = [
  address('eth0', '192.0.2.11', 24),
  address('eth0', '203.0.113.0', 31),
  address('eth0', '198.51.100.7', 32),
  address('eth00', '10.1.0.1', 16),
];

it.each([
  ['192.0.2.12', true],
  ['192.0.2.11', false],
  ['192.0.2.0', false],
  ['192.0.2.255', false],
  ['192.0.3.12', false],
  ['203.0.113.1', true],
  ['203.0.113.0', false],
  ['198.51.100.7', false],
  ['198.51.100.8', false],
  ['10.1.0.2', false],
])('%s is on the link: %s', (text, expected) => {
  expect(isOnLink(parseIpv4(text), OBJECTS, 'eth0')).toBe(expected);
});
