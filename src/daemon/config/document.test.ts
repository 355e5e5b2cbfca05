import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from './config.ts';
import { configTable } from './document.ts';

const page = new URL('../../../docs/config.md', import.meta.url);
const text = readFileSync(page, 'utf8');

describe('docs/config.md', () => {
  it('lists every key as the schema has it', async () => {
    const [head] = text.split(/(?<=<!-- keys: .* -->\n)/);
    await expect(`${head}\n${configTable()}\n`).toMatchFileSnapshot(page.pathname);
  });

  it('shows an example that is accepted', () => {
    const example = /```yaml\n(.*?)```/s.exec(text)?.[1];
    const config = parseConfig(parse(example ?? ''));
    expect(config.pool.microvm).toBe(128);
    expect(config.api.tcp?.listen).toBe('127.0.0.1:7070');
  });
});
