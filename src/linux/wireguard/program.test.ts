import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { processOf } from '../process.ts';

/** Starts it in the folder that it is given, until it is killed. */
const STARTER = `
  import { ProgramStart } from '${new URL('program.ts', import.meta.url).href}';
  new ProgramStart(process.argv[1], 'wg0');
  setInterval(() => undefined, 1000);`;

/** One that never gets to the background, and says who it is in the folder that it is in. */
const ENDLESS = `#!/bin/sh
echo $$ >pid.new && mv pid.new pid
exec sleep 600
`;

it('ends with who starts it, until it is in the background', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-start-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'wireguard-go'), ENDLESS);
  chmodSync(join(folder, 'wireguard-go'), 0o755);
  const starter = spawn(process.execPath, ['--input-type=module', '-e', STARTER, folder], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PATH: `${folder}:${process.env['PATH']}` },
  });
  const exit = once(starter, 'exit');
  onTestFinished(() => void starter.kill('SIGKILL'));
  const file = join(folder, 'pid');
  await expect.poll(() => existsSync(file), { timeout: 60_000 }).toBe(true);
  const pid = Number(readFileSync(file, 'utf8'));
  expect(processOf(pid)).toBeDefined();
  starter.kill('SIGKILL');
  await exit;
  await expect.poll(() => processOf(pid), { timeout: 60_000 }).toBeUndefined();
});
