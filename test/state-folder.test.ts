import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { CulvertError } from '../src/errors.ts';
import { parseSandboxId } from '../src/ipam/lease.ts';
import { NamespaceHandle } from '../src/linux/namespace.ts';
import { umount } from '../src/linux/syscall.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { createSandbox, openCore, pause_ms } from './support/lab-core.ts';

/* A state folder that cannot be used: nothing is handed out, the file is named, and what runs goes on. */

/** linux/fs.h */
const MNT_DETACH = 2;

let lab: LabHost;
let inside: NamespaceHandle;
let state: string;
let leases: string;
let running: Sandbox;
let pinned: number;

beforeEach(() => {
  lab = new LabHost();
  inside = new NamespaceHandle(lab.pin('host'));
  state = join(lab.folder, 'state');
  leases = join(state, 'leases.sqlite');
  mkdirSync(state);
  // a folder of its own that can be filled
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'culvert-test', state]);
  inside.run(() => {
    using core = openCore(lab.folder);
    createSandbox(core, 'running', 'netns');
    running = core.inspect(parseSandboxId('running'));
  });
  pinned = statSync(running.netns).ino;
});

afterEach(() => {
  inside[Symbol.dispose]();
  lab[Symbol.dispose]();
});

function expectUndisturbed(): void {
  expect(statSync(running.netns).ino).toBe(pinned);
  expect(lab.run(running.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
}

function failureOf(body: () => unknown): CulvertError {
  try {
    body();
  } catch (error) {
    if (error instanceof CulvertError) return error;
    throw error;
  }
  throw new Error('It did not fail');
}

function start(): void {
  inside.run(() => openCore(lab.folder)[Symbol.dispose]());
}

function expectRefusal(code: string, remedy: string): void {
  const { code: found, message } = failureOf(start);
  expect({ code: found, message }).toMatchObject({ code, message: expect.stringContaining(remedy) });
  expect(message).toContain(state);
  expectUndisturbed();
}

function expectAdoption(): void {
  inside.run(() => {
    using core = openCore(lab.folder);
    expect(core.list()).toMatchObject([{ id: 'running', slot: running.slot, generation: running.generation }]);
    createSandbox(core, 'another', 'netns');
  });
  expectUndisturbed();
}

it.each([
  ['of garbage', () => writeFileSync(leases, 'x'.repeat(8192))],
  ['of nothing', () => truncateSync(leases, 0)],
  ['cut short', () => truncateSync(leases, 4096)],
  [
    'with a page of garbage',
    () => {
      const bytes = readFileSync(leases);
      bytes.fill(0xa5, 4096, 8192);
      writeFileSync(leases, bytes);
    },
  ],
])('refuses a file %s, and goes on with a sound one', (_, damage) => {
  const sound = readFileSync(leases);
  for (const suffix of ['-wal', '-shm']) rmSync(`${leases}${suffix}`, { force: true });
  damage();
  expectRefusal('store_corrupt', 'put a sound copy back');
  rmSync(`${leases}-wal`, { force: true });
  rmSync(`${leases}-shm`, { force: true });
  writeFileSync(leases, sound);
  expectAdoption();
});

it('refuses to begin anew beside namespaces that no lease knows', () => {
  const sound = readFileSync(leases);
  rmSync(leases);
  expectRefusal('leases_missing', 'put it back');
  writeFileSync(leases, sound);
  expectAdoption();
});

it('refuses an older copy, which would give away twice what it does not know', () => {
  const older = readFileSync(leases);
  inside.run(() => {
    using core = openCore(lab.folder);
    createSandbox(core, 'later', 'netns');
  });
  const newest = readFileSync(leases);
  writeFileSync(leases, older);
  expectRefusal('leases_outdated', '1 namespaces are pinned');
  writeFileSync(leases, newest);
  start();
  expectUndisturbed();
});

it('counts no pins that pin nothing any more', () => {
  rmSync(leases);
  for (const pin of [running.netns, join(lab.folder, 'run', 'netns', 'router')]) umount(pin, MNT_DETACH);
  start();
});

it('is told of while it runs when the file goes away, and gives nothing out', () => {
  inside.run(() => {
    const events: string[] = [];
    using core = openCore(lab.folder, {
      emit: ({ type, data }) => void events.push(`${type} ${String(data?.['code'])}`),
    });
    renameSync(leases, `${leases}.away`);
    expect(failureOf(() => createSandbox(core, 'another', 'netns'))).toMatchObject({ code: 'store_lost' });
    core.step();
    expect(core.status().problems).toMatchObject([{ code: 'store_lost', message: expect.stringContaining(leases) }]);
    expect(events).toContain('problem.raised store_lost');
    renameSync(`${leases}.away`, leases);
    createSandbox(core, 'another', 'netns');
    expect(core.status().problems).toEqual([]);
    pause_ms(1100);
    core.step();
    expect(events).toContain('problem.cleared store_lost');
  });
  expectUndisturbed();
});

it('refuses a file that another process has locked', () => {
  using other = new DatabaseSync(leases);
  other.exec('BEGIN EXCLUSIVE');
  expectRefusal('store_locked', 'stop the other daemon');
  other.exec('ROLLBACK');
  expectAdoption();
});

it('refuses a folder that another daemon has', () => {
  inside.run(() => {
    const first = openCore(lab.folder);
    expectRefusal('folder_in_use', `pid ${process.pid}`);
    first[Symbol.dispose]();
  });
  expectAdoption();
});

it('refuses a folder that cannot be written', () => {
  execFileSync('mount', ['-o', 'remount,bind,ro', state]);
  expectRefusal('folder_unusable', 'check the mount');
  execFileSync('mount', ['-o', 'remount,bind,rw', state]);
  expectAdoption();
});

it('hands out nothing on a full disk, and works again when there is room', () => {
  const ballast = join(state, 'ballast');
  inside.run(() => {
    using core = openCore(lab.folder);
    const { bavail, bsize } = statfsSync(state);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize));
    let created = 0;
    // what the log has room for is committed still
    const error = failureOf(() => {
      for (; created < 2_000; created++) createSandbox(core, `more-${created}`, 'netns');
    });
    expect(error).toMatchObject({ code: 'store_full', message: expect.stringContaining(leases) });
    expect(core.list()).toHaveLength(1 + created);
    expectUndisturbed();
    rmSync(ballast);
    createSandbox(core, 'another', 'netns');
    expect(core.list()).toHaveLength(2 + created);
  });
  expectUndisturbed();
});
