import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { keyOf } from './key.ts';
import { clamped, publicKeyOf } from './private-key.ts';

it('has the public keys that wg(8) has, of keys of any bits', () => {
  for (const bytes of [crypto.getRandomValues(new Uint8Array(32)), new Uint8Array(32).fill(255)]) {
    const key = keyOf(bytes);
    const told = execFileSync('wg', ['pubkey'], { input: key, encoding: 'utf8' }).trim();
    expect([publicKeyOf(key), publicKeyOf(clamped(key))]).toEqual([told, told]);
  }
});
