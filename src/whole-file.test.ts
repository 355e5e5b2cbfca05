import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeWholeFile } from './whole-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-whole-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('writes through no link that stands where it drafts, and into no file that others may read', () => {
  const [path, other] = [join(folder, 'vpn.conf'), join(folder, 'other')];
  writeFileSync(other, 'of another');
  symlinkSync(other, `${path}.new`);
  writeWholeFile(path, 'a secret');
  expect([readFileSync(path, 'utf8'), readFileSync(other, 'utf8')]).toEqual(['a secret', 'of another']);
  writeFileSync(`${path}.new`, '');
  chmodSync(`${path}.new`, 0o666);
  writeWholeFile(path, 'another secret');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readFileSync(path, 'utf8')).toBe('another secret');
});
