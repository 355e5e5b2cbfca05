import { beforeEach, expect, it } from 'vitest';
import { parseIpv4 } from '../../../addr/ipv4.ts';
import { parsePrefix } from '../../../addr/prefix.ts';
import { firstEpoch } from '../../../cluster/epoch.ts';
import type { Heard } from '../../../mesh/course.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import { parseKey } from '../../../plan/wireguard/key.ts';
import { Courses } from './courses.ts';
import { KnownEpoch } from './known-epoch.ts';
import { OldKeys } from './old-keys.ts';
import { Rotations } from './rotations.ts';

/* A host that has the keys of rotations 4, on the even device, and 5, on the odd one, and one other host. */

const DONE = { ...firstEpoch(1420), number: 7, rotation: 5 };

let rotations: Rotations;
let courses: Courses;
let epoch: KnownEpoch;
let heard: Heard | undefined;
let unsettledMs: number;
let peer: MeshPeer;

beforeEach(() => {
  rotations = new Rotations([4, 5]);
  courses = new Courses();
  courses.took('h2', { sends: 'odd', acceptsClear: false });
  epoch = new KnownEpoch(DONE, 0);
  heard = { way: 'odd', epoch: 7 };
  unsettledMs = 0;
  peer = peerWith([4, 5]);
});

function peerWith(kept: readonly number[]): MeshPeer {
  const publicKey = parseKey(Buffer.alloc(32, 1).toString('base64'));
  return {
    name: 'h2',
    subnet: parsePrefix('10.64.16.0/20'),
    address: parseIpv4('192.0.2.2'),
    clearPort: 51830,
    isOnLink: true,
    keys: kept.map((rotation) => ({ rotation, publicKey, port: 51820 })),
  };
}

function oldKeys(): OldKeys {
  const paths = { heard, unsettledMs: () => unsettledMs };
  const peers = new Map([['h2', peer]]);
  return new OldKeys({ peers: () => peers, epoch, courses, rotations, pathsTo: () => paths, nowMs: () => 0 });
}

it('go when the other sends by the new ones and is sent to so', () => {
  expect(oldKeys().users).toEqual([]);
  oldKeys().drop();
  expect(rotations.used).toEqual([5]);
});

it.each<[string, () => void]>([
  ['is sent to by them', () => courses.took('h2', { sends: 'even', acceptsClear: false })],
  ['sends by them', () => void (heard = { way: 'even', epoch: 7 })],
  ['was not heard yet', () => void (heard = undefined)],
  ['has sent by them until now', () => void (unsettledMs = 100)],
  ['has no new ones', () => void (peer = peerWith([4]))],
])('stay where the other %s', (_, arrange) => {
  arrange();
  expect(oldKeys().users).toEqual(['h2']);
  oldKeys().drop();
  expect(rotations.used).toEqual([4, 5]);
});

it('stay until the change is done', () => {
  epoch.take({ ...DONE, phase: 'drop' }, 0);
  oldKeys().drop();
  expect(rotations.used).toEqual([4, 5]);
});

it('are none where there is one set of keys, though it is not the current one yet', () => {
  rotations = new Rotations([4]);
  oldKeys().drop();
  expect([oldKeys().users, rotations.used]).toEqual([[], [4]]);
});
