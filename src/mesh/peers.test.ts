import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parsePrefix } from '../addr/prefix.ts';
import { keyOf } from '../plan/wireguard/key.ts';
import { type HostKey, type MeshPeer, Peers } from './peers.ts';

const key = (): HostKey => ({ rotation: 0, publicKey: keyOf(randomBytes(32)), port: 51_820 });
const address = parseIpv4('192.0.2.9');
const own = {
  name: 'own',
  subnet: parsePrefix('10.64.0.0/20'),
  address,
  clearPort: 51_830,
  isOnLink: true,
  keys: [key()],
};
const peer = (name: string, subnet: string, keys = [key()]): MeshPeer => ({
  ...own,
  name,
  subnet: parsePrefix(subnet),
  keys,
});
const take = (peers: Peers, ...all: MeshPeer[]): unknown =>
  peers.take(all.map((one) => ({ name: one.name, peer: one }))).map(({ former, next }) => [former?.name, next?.name]);

it('uses none of those that claim one subnet, or one key, until one of them is gone', () => {
  const peers = new Peers(20, own);
  const [one, two] = [peer('one', '10.64.16.0/20'), peer('two', '10.64.32.0/20')];
  expect(take(peers, one, two)).toEqual([
    [undefined, 'one'],
    [undefined, 'two'],
  ]);
  expect(take(peers, peer('three', '10.64.16.0/21'))).toEqual([['one', undefined]]);
  expect(peers.refused.get('one')).toBe('its subnet 10.64.16.0/20 overlaps that of three');
  expect(peers.refused.get('three')).toBe('its subnet 10.64.16.0/21 overlaps that of one');
  expect(take(peers, peer('four', '10.64.48.0/20', [key(), ...two.keys]))).toEqual([['two', undefined]]);
  expect(peers.refused.get('two')).toBe('it has the public key of four');
  expect(peers.take([{ name: 'three', peer: undefined }]).map(({ next }) => next?.name)).toEqual(['one']);
  expect(new Set(take(peers, peer('four', '10.64.48.0/20')) as [string | undefined, string][])).toEqual(
    new Set([
      [undefined, 'two'],
      [undefined, 'four'],
    ]),
  );
  expect(peers.refused.size).toBe(0);
  expect([...peers.used.keys()].toSorted()).toEqual(['four', 'one', 'two']);
});

it('uses none that has what is the host’s own', () => {
  const peers = new Peers(20, own);
  expect(take(peers, peer('one', '10.64.0.0/19'), peer('two', '10.64.32.0/20', own.keys))).toEqual([]);
  expect(peers.refused.size).toBe(2);
  expect(take(peers, { ...own, subnet: parsePrefix('10.64.64.0/20') })).toEqual([]);
});
