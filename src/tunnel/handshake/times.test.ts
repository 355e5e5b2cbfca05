import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Key } from '../../plan/wireguard/key.ts';
import { HandshakeTimes } from './times.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-times-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const [own, peer, other] = ['own', 'peer', 'other'] as unknown as [Key, Key, Key];

it('is the latest of two keys, for whoever comes after', () => {
  const times = new HandshakeTimes(folder, own);
  expect(times.lastWith(peer)).toBeUndefined();
  times.remember(peer, 2000.5);
  times.remember(peer, 1000);
  expect(new HandshakeTimes(folder, own).lastWith(peer)).toBe(2000);
  expect(times.lastWith(other)).toBeUndefined();
  expect(new HandshakeTimes(folder, other).lastWith(peer)).toBeUndefined();
  const [name = ''] = readdirSync(join(folder, 'handshakes'));
  expect(name).not.toContain(peer);
});

it('is not known where it cannot be read', () => {
  const times = new HandshakeTimes(folder, own);
  times.remember(peer, 2000);
  const at = join(folder, 'handshakes');
  const [name = ''] = readdirSync(at);
  writeFileSync(join(at, name), 'nonsense');
  expect(times.lastWith(peer)).toBeUndefined();
  times.remember(peer, 3000);
  expect(readFileSync(join(at, name), 'utf8')).toBe('3000\n');
});

it('keeps nobody from anything where it cannot be written down, and says why', () => {
  writeFileSync(join(folder, 'handshakes'), 'no folder');
  const times = new HandshakeTimes(folder, own);
  expect(times.remember(peer, 2000)).toMatch(/^when this host last had a handshake cannot be written down: /);
  expect(times.lastWith(peer)).toBeUndefined();
});

it('is kept of so many keys', () => {
  const times = new HandshakeTimes(folder, own);
  for (let count = 0; count < 300; count++) times.remember(`peer ${count}` as Key, 1000 + count);
  expect(readdirSync(join(folder, 'handshakes')).length).toBe(256);
});
