import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryEngine } from '../../../test/support/memory-engine.ts';
import { parseSandboxId } from '../../ipam/lease.ts';
import { parseSpecification, specificationText } from '../../sandbox/specification.ts';
import type { CreateRequest } from '../engine.ts';
import { ViaEngine } from './via-engine.ts';

/* What comes of sandboxes whose tunnel cannot be: their namespaces are not there. */

let folder: string;
let inner: MemoryEngine;
let engine: ViaEngine;
let reported: unknown[];
/** how those begin that are of tunnels */
let events: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-via-'));
  const tunnels = join(folder, 'tunnels');
  mkdirSync(tunnels);
  const key = Buffer.alloc(32, 7).toString('base64');
  const text = `[Interface]\nPrivateKey = ${key}\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = ${key}\nEndpoint = 192.0.2.1:51820\nAllowedIPs = 0.0.0.0/0\n`;
  writeFileSync(join(tunnels, 'nl1.conf'), text, { mode: 0o600 });
  inner = new MemoryEngine();
  reported = [];
  const report = (error: unknown): void => void reported.push(error);
  events = [];
  engine = new ViaEngine(inner, { runDir: join(folder, 'run'), stateDir: join(folder, 'state'), tunnels, report });
  engine.subscribe(({ type, message }) => {
    if (type.startsWith('via.')) events.push(message.split(':')[0] ?? '');
  });
});
afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

function request(id: string, tunnel?: string): CreateRequest {
  const plain = parseSpecification('{"topology":"netns","rates":{},"policy":{"egress":"none","allow":[],"deny":[]}}');
  const specification = tunnel === undefined ? plain : { ...plain, via: { tunnel, number: 1 } };
  return { id: parseSandboxId(id), specification: parseSpecification(specificationText(specification)) };
}

const ids = async (): Promise<string[]> => (await inner.list()).map(({ id }) => id);

describe('a creation whose tunnel cannot be', () => {
  it('takes away what it has made, and nothing that was there', async () => {
    await engine.create([request('old')]);
    const creating = engine.create([request('old'), request('new'), request('a', 'nl1')]);
    await expect(creating).rejects.toMatchObject({ code: 'via_down' });
    expect(await ids()).toEqual(['old']);
    expect(reported).toEqual([]);
  });

  it('takes away nothing that was created anew meanwhile', async () => {
    const creating = engine.create([request('a', 'nl1')]);
    const outcome = expect(creating).rejects.toMatchObject({ code: 'via_down' });
    await expect.poll(ids).toEqual(['a']);
    await inner.remove([parseSandboxId('a')]);
    await inner.create([request('a')]);
    await outcome;
    expect(await ids()).toEqual(['a']);
    expect(reported).toEqual([]);
  });

  it('wants no tunnel for what was removed before it is told that it is there', async () => {
    const creating = engine.create([request('a', 'nl1')]);
    const outcome = expect(creating).rejects.toMatchObject({ code: 'via_down' });
    await engine.remove([parseSandboxId('a')]);
    await outcome;
    // one that is wanted is
    await expect(engine.create([request('b', 'nl1')])).rejects.toMatchObject({ code: 'via_down' });
    expect((await engine.status()).problems).toEqual([]);
    expect(events).toEqual(['Tunnel nl1 is not there for sandbox b']);
  });

  it('is given up where the daemon stops, and nothing is left of it', async () => {
    const creating = engine.create([request('a', 'nl1')]);
    const outcome = expect(creating).rejects.toMatchObject({ code: 'via_down' });
    await expect.poll(ids).toEqual(['a']);
    await engine.close();
    await outcome;
    inner.trouble = undefined;
    expect(await ids()).toEqual([]);
    expect(reported).toEqual([]);
  });

  it('is given up where nobody keeps tunnels any more, and a person is told', async () => {
    mkdirSync(join(folder, 'run'));
    writeFileSync(join(folder, 'run', 'via'), 'no folder');
    for (const id of ['a', 'b']) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(engine.create([request(id, 'nl1')])).rejects.toMatchObject({ code: 'via_down' });
    }
    expect(await ids()).toEqual([]);
    expect((await engine.status()).problems).toMatchObject([{ code: 'via_unkept' }]);
    expect(reported).toMatchObject([{ code: 'via_unkept' }]);
  });
});
