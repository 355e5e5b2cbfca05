import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { inTurn } from './turn.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-turn-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('is one’s until what is done has ended, however it ends', () => {
  const busy = expect.objectContaining({ code: 'tunnels_busy', message: expect.stringContaining(folder) as string });
  expect(() =>
    inTurn(folder, () => {
      expect(() => inTurn(folder, () => undefined, 10)).toThrow(busy);
      throw new Error('an end');
    }),
  ).toThrow('an end');
  expect(inTurn(folder, () => 'again', 10)).toBe('again');
});

it('is of one folder', () => {
  expect(inTurn(folder, () => inTurn(join(folder, 'other'), () => 'both', 10))).toBe('both');
});
