import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Draining, readDraining } from './draining.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-draining-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('is remembered by the folder, and forgotten when it ends', () => {
  const draining = new Draining(folder);
  expect(() => draining.assertTakes('h1')).not.toThrow();
  expect(draining.begin()).toBe(true);
  const { sinceWallMs } = draining;
  expect(draining.begin()).toBe(false);
  expect(new Draining(folder).sinceWallMs).toBe(sinceWallMs);
  expect(() => new Draining(folder).assertTakes('h1')).toThrow(
    expect.objectContaining({ code: 'draining', message: expect.stringMatching(/host h1: .* culvert undrain$/) }),
  );
  expect(draining.end()).toBe(true);
  expect(draining.end()).toBe(false);
  expect(readDraining(folder)).toBeUndefined();
});

it('is not guessed where the file cannot be read', () => {
  writeFileSync(join(folder, 'draining.json'), '{"since');
  expect(() => new Draining(folder)).toThrow(expect.objectContaining({ code: 'draining_file' }));
});

it('is as it was where it cannot be written', () => {
  const draining = new Draining(folder);
  mkdirSync(join(folder, 'draining.json.new'));
  expect(() => draining.begin()).toThrow(expect.objectContaining({ code: 'draining_file' }));
  expect(draining.sinceWallMs).toBeUndefined();
});
