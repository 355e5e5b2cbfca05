import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { publicKeyOf } from '../plan/wireguard/private-key.ts';
import { generatePrivateKey, readPrivateKey } from './keys.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-keys-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('has the public keys that wg(8) has', () => {
  for (let count = 0; count < 20; count++) {
    const key = generatePrivateKey();
    expect(publicKeyOf(key)).toBe(execFileSync('wg', ['pubkey'], { input: key, encoding: 'utf8' }).trim());
  }
});

it('keeps a private key for its owner alone, and the same one for good', () => {
  const file = join(folder, 'key');
  const key = readPrivateKey(file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readPrivateKey(file)).toBe(key);
  expect(readFileSync(file, 'utf8')).toBe(`${key}\n`);
  expect(readdirSync(folder)).toEqual(['key']);
});

it('makes no other where there is one that cannot be read, and does not show it', () => {
  const file = join(folder, 'key');
  writeFileSync(file, 'a secret that is no key');
  expect(() => readPrivateKey(file)).toThrow(expect.objectContaining({ code: 'key_file' }));
  expect(() => readPrivateKey(file)).not.toThrow(/secret/);
  rmSync(file);
  writeFileSync(join(folder, 'key.new'), 'half of one');
  chmodSync(join(folder, 'key.new'), 0o600);
  readPrivateKey(file);
  expect(readdirSync(folder)).toEqual(['key']);
});

it('reads a key of any bits as the curve takes it', () => {
  const file = join(folder, 'key');
  writeFileSync(file, Buffer.alloc(32, 255).toString('base64'), { mode: 0o600 });
  const key = readPrivateKey(file);
  expect(Buffer.from(key, 'base64').at(0)).toBe(248);
  expect(Buffer.from(key, 'base64').at(31)).toBe(127);
  const told = execFileSync('wg', ['pubkey'], { input: Buffer.alloc(32, 255).toString('base64'), encoding: 'utf8' });
  expect(publicKeyOf(key)).toBe(told.trim());
});

it('does not use a private key that others may read', () => {
  const file = join(folder, 'key');
  readPrivateKey(file);
  chmodSync(file, 0o640);
  expect(() => readPrivateKey(file)).toThrow(/others may read it, with mode 640; chmod 600 it/);
});
