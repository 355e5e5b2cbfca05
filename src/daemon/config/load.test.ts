import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatPrefix } from '../../addr/prefix.ts';
import { loadConfig } from './load.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('a config file', () => {
  it('says the same in YAML and in JSON', async () => {
    const yaml = file('a.yaml', 'ranges:\n  host: 10.99.0.0/16\npool: { netns: 3 }\n');
    const json = file('a.json', '{ "ranges": { "host": "10.99.0.0/16" }, "pool": { "netns": 3 } }');
    const config = await loadConfig(yaml);
    expect(formatPrefix(config.ranges.host)).toBe('10.99.0.0/16');
    expect(await loadConfig(json)).toEqual(config);
  });

  it('may be empty or absent', async () => {
    expect(await loadConfig(file('a.yaml', '# nothing\n'))).toEqual(await loadConfig(undefined));
  });

  it('is overridden by the command line', async () => {
    const path = file('a.yaml', 'stateDir: /a\nrunDir: /b\n');
    const config = await loadConfig(path, { runDir: '/c' });
    expect([config.stateDir, config.runDir]).toEqual(['/a', '/c']);
  });

  it('is wrong even where the command line overrides what is wrong', async () => {
    const path = file('a.yaml', 'runDir: nowhere\n');
    await expect(loadConfig(path, { runDir: '/c' })).rejects.toMatchObject({ code: 'invalid_config', field: 'runDir' });
  });
});

describe('a config file that cannot be used', () => {
  it.each([
    ['a.yaml', 'ranges: { host: 10.11.0.0/33 }', 'invalid_prefix', /0 to 32 \(in ranges.host of .*a\.yaml\)/],
    ['a.yaml', 'pool: { netns: many }', 'invalid_config', /pool.netns: want a number, got "many" \(in \S*a\.yaml\)/],
    ['a.yaml', 'name: a\nname: b\n', 'config_syntax', /unique.*line 2/],
    ['a.yaml', 'name: [', 'config_syntax', /line 1/],
    ['a.yaml', '- name', 'invalid_config', /want an object, got an array/],
    ['a.json', '{ "name": a }', 'config_syntax', /JSON/],
  ])('%s with %j is refused by name', async (name, text, code, message) => {
    const path = file(name, text);
    const refused = loadConfig(path);
    await expect(refused).rejects.toMatchObject({ name: 'InputError', code, message: expect.stringContaining(path) });
    await expect(refused).rejects.toThrow(message);
  });

  it('is not there, is no file, or is too big', async () => {
    const unreadable = { name: 'InputError', code: 'config_unreadable' };
    await expect(loadConfig(join(folder, 'none.yaml'))).rejects.toMatchObject(unreadable);
    mkdirSync(join(folder, 'b.yaml'));
    await expect(loadConfig(join(folder, 'b.yaml'))).rejects.toMatchObject(unreadable);
    await expect(loadConfig(file('c.yaml', '#'.repeat(1_048_577)))).rejects.toMatchObject(unreadable);
  });
});
