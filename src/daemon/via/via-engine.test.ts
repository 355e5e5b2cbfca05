import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryEngine } from '../../../test/support/memory-engine.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { parseSandboxId } from '../../ipam/lease.ts';
import { parseGroupName } from '../../sandbox/group.ts';
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
  give('nl1', { key: 7, address: '10.9.0.2/32' });
  inner = new MemoryEngine();
  reported = [];
  const report = (error: unknown): void => void reported.push(error);
  events = [];
  engine = new ViaEngine(inner, {
    runDir: join(folder, 'run'),
    stateDir: join(folder, 'state'),
    tunnels,
    ranges: [parsePrefix('10.11.0.0/16')],
    report,
  });
  engine.subscribe(({ type, message }) => {
    if (type.startsWith('via.')) events.push(message.split(':')[0] ?? '');
  });
});
afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

/** Writes the file of a tunnel. */
function give(name: string, { key, address }: { readonly key: number; readonly address: string }): void {
  const text = Buffer.alloc(32, key).toString('base64');
  const lines = ['[Interface]', `PrivateKey = ${text}`, `Address = ${address}`];
  const peer = ['[Peer]', `PublicKey = ${text}`, 'Endpoint = 192.0.2.1:51820', 'AllowedIPs = 0.0.0.0/0'];
  writeFileSync(join(folder, 'tunnels', `${name}.conf`), `${[...lines, ...peer].join('\n')}\n`, { mode: 0o600 });
}

function request(id: string, tunnel?: string, group?: string): CreateRequest {
  const plain = parseSpecification('{"topology":"netns","rates":{},"policy":{"egress":"none","allow":[],"deny":[]}}');
  const grouped = group === undefined ? plain : { ...plain, group: parseGroupName(group) };
  const specification = tunnel === undefined ? plain : { ...grouped, via: { tunnel, number: 1 } };
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

describe('a creation', () => {
  it('is refused where another leaves by the same key already, under whatever name, and changes nothing', async () => {
    give('same', { key: 7, address: '10.9.0.3/32' });
    give('other', { key: 8, address: '10.9.0.3/32' });
    const taken = { code: 'via_taken', message: expect.stringContaining('it has the key of tunnel nl1') };
    await expect(engine.create([request('a', 'nl1'), request('b', 'same')])).rejects.toMatchObject(taken);
    const creating = engine.create([request('a', 'nl1')]);
    const outcome = expect(creating).rejects.toMatchObject({ code: 'via_down' });
    await expect.poll(ids).toEqual(['a']);
    await expect(engine.create([request('b', 'same')])).rejects.toMatchObject(taken);
    expect(await ids()).toEqual(['a']);
    await expect(engine.create([request('b', 'other')])).rejects.toMatchObject({ code: 'via_down' });
    await outcome;
    // it is free again
    await expect(engine.create([request('b', 'same')])).rejects.toMatchObject({ code: 'via_down' });
  });

  it('is refused likewise where both are asked for at once', async () => {
    give('same', { key: 7, address: '10.9.0.3/32' });
    const both = await Promise.allSettled([
      engine.create([request('a', 'nl1')]),
      engine.create([request('b', 'same')]),
    ]);
    expect(both.map((one) => (one as PromiseRejectedResult).reason as unknown)).toMatchObject([
      { code: 'via_down' },
      { code: 'via_taken' },
    ]);
  });

  it('that is on its way where all is taken away leaves nothing that is wanted', async () => {
    const create = inner.create.bind(inner);
    inner.create = async (requests) => {
      const made = await create(requests);
      await pause(50);
      return made;
    };
    const creating = engine.create([request('a', 'nl1')]);
    const outcome = expect(creating).rejects.toMatchObject({
      code: 'via_down',
      message: expect.stringContaining('the daemon stops'),
    });
    await engine.purge();
    await outcome;
    events.length = 0;
    await pause(1500);
    expect(events).toEqual([]);
    expect((await engine.status()).problems).toEqual([]);
    expect(existsSync(join(folder, 'run', 'via'))).toBe(false);
  });

  it('is refused where the tunnel of a group has an address of the sandboxes, and one of its own may have it', async () => {
    give('within', { key: 7, address: '10.11.3.4/32' });
    give('around', { key: 7, address: '10.9.0.2/8' });
    const refused = { code: 'via_address', message: expect.stringMatching(/10\.11\.0\.0\/16; give each sandbox/) };
    for (const tunnel of ['within', 'around']) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(engine.create([request('a', tunnel, 'web')])).rejects.toMatchObject(refused);
    }
    await expect(engine.create([request('a', 'within')])).rejects.toMatchObject({ code: 'via_down' });
    await expect(engine.create([request('a', 'nl1', 'web')])).rejects.toMatchObject({ code: 'via_down' });
  });
});
