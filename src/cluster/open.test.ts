import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { openRegistry, type RegistryOptions } from './open.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-open-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function nameOf(options: RegistryOptions): Promise<string> {
  await using registry = openRegistry(options, new HandClock());
  return registry.name;
}

describe('a registry', () => {
  it('is named without a secret', async () => {
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'secret\n', { mode: 0o600 });
    expect(await nameOf({ url: 'etcd://a:2379' })).toBe('etcd://a:2379/culvert/');
    const url = 'etcd://10.0.0.1:2379,etcd-2.example:2379/prod';
    expect(await nameOf({ url, user: 'culvert', passwordFile })).toBe(`${url}/`);
    expect(await nameOf({ url: `file:${folder}/r.sqlite` })).toBe(`${folder}/r.sqlite`);
  });

  it.each([
    'etcd://',
    'etcd://a',
    'http://a:2379',
    'etcd://a:2379/b/c',
    'etcd://user:secret@a:2379',
    'etcd://user:s/secret@a:2379',
    'file:relative',
    'etcd://a:2379,',
    'etcd://a:0',
    'etcd://a:65536',
  ])('is not %j', (url) => {
    const open = (): unknown => openRegistry({ url }, new HandClock());
    expect(open).toThrow(expect.objectContaining({ code: 'registry_url', field: 'cluster.registry' }));
    expect(open).not.toThrow(/secret/);
  });

  it.each([
    ['cluster.user', { user: 'culvert' }],
    ['cluster.passwordFile', { user: 'culvert', passwordFile: 'open' }],
    ['cluster.passwordFile', { user: 'culvert', passwordFile: 'absent' }],
    ['cluster.caFile', { url: 'etcds://a:2379' }],
    ['cluster.caFile', { url: 'etcds://a:2379', caFile: 'absent' }],
    ['cluster.registry', { caFile: 'open' }],
  ] as const)(
    'is not opened with files that do not do: %s',
    (field, { passwordFile, caFile, ...options }: Partial<RegistryOptions>) => {
      writeFileSync(join(folder, 'open'), 'secret');
      chmodSync(join(folder, 'open'), 0o644);
      const files = {
        ...(passwordFile === undefined ? {} : { passwordFile: join(folder, passwordFile) }),
        ...(caFile === undefined ? {} : { caFile: join(folder, caFile) }),
      };
      const open = (): unknown => openRegistry({ url: 'etcd://a:2379', ...options, ...files }, new HandClock());
      expect(open).toThrow(expect.objectContaining({ field }));
      expect(open).not.toThrow(/secret/);
    },
  );
});
