import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabHost } from '../lab/host.ts';
import type { StatusResource } from '../src/api/client/client.ts';
import { CommandLine } from './support/command-line.ts';

let host: LabHost;

beforeEach(() => {
  host = new LabHost();
});
afterEach(() => host[Symbol.dispose]());

it('keeps all threads in the root namespace, but for the one that enters sandboxes', async () => {
  const culvert = new CommandLine(host);
  await culvert.up();
  await culvert.json('create', '--topology', 'netns', '--count', '20');
  const { pid } = await culvert.json<StatusResource>('status');
  const root = readlinkSync(`/proc/${pid}/ns/net`);
  const threads = (): string[] => readdirSync(`/proc/${pid}/task`);
  const strays = (): string[] => threads().filter((id) => readlinkSync(`/proc/${pid}/task/${id}/ns/net`) !== root);
  expect(threads().length).toBeGreaterThan(5);
  // the kernel thread may be inside one just now, and comes back
  await expect.poll(strays).toEqual([]);
});
