import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatIpv4 } from '../addr/ipv4.ts';
import { parsePrefix } from '../addr/prefix.ts';
import { systemClock } from '../clock.ts';
import { claim } from './allocator.ts';
import { awaitingProbe, markProbed } from './bridge/probe.ts';
import { setBridgeRange } from './bridge/range.ts';
import { type Lease, parseSlot } from './lease.ts';
import type { Tenure } from './rival.ts';
import { openStore, type Store } from './store.ts';
import { listLeases } from './transition.ts';

const range = { first: parseSlot(1), last: parseSlot(16) };
let folder: string;
let path: string;
let rivals: Rival[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-concurrency-'));
  path = join(folder, 'leases.db');
  rivals = [];
  using store = open();
  setBridgeRange(store, parsePrefix('10.8.64.0/28'));
  markProbed(store, awaitingProbe(store, 16));
});
afterEach(async () => {
  for (const rival of rivals) await rival.kill();
  rmSync(folder, { recursive: true });
});

function open(busyTimeout_ms = 30_000): Store {
  return openStore(path, systemClock(), { busyTimeout_ms });
}

/** Another process on the same database. */
class Rival {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #end: Promise<unknown>;

  constructor(turns: number, hold = 0) {
    const program = fileURLToPath(new URL('./rival.ts', import.meta.url));
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    const child = spawn(process.execPath, [program, path, String(turns), String(hold)], { stdio: [...stdio] });
    this.#process = child;
    this.#end = once(child, 'exit');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    rivals.push(this);
  }

  async says(): Promise<string> {
    const { value } = await this.#lines.next();
    return String(value);
  }

  go(): void {
    this.#process.stdin?.write('\n');
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#end;
  }
}

const places = (leases: Lease[]): unknown[] =>
  leases.map(({ slot, generation, bridgeAddress }) => [slot, generation, bridgeAddress && formatIpv4(bridgeAddress)]);

describe('two processes on one database', { timeout: 120_000 }, () => {
  it('never hold a slot, a generation or a bridge address both', async () => {
    const both = [new Rival(120, 5), new Rival(120, 5)];
    for (const rival of both) expect(await rival.says()).toBe('ready');
    for (const rival of both) rival.go();
    const tenures = (await Promise.all(both.map((rival) => rival.says()))).flatMap(
      (line) => JSON.parse(line) as Tenure[],
    );
    expect(tenures).toHaveLength(240);
    expect(new Set(tenures.map(({ slot, generation }) => `${slot}/${generation}`)).size).toBe(240);
    for (const one of ['slot', 'bridgeAddress'] as const) {
      for (const sharing of Map.groupBy(tenures, (tenure) => tenure[one]).values()) {
        if (sharing[0]?.[one] === undefined) continue;
        const inOrder = sharing.toSorted((a, b) => a.from_ms - b.from_ms);
        for (const [index, { from_ms }] of inOrder.entries()) {
          if (index > 0) expect(from_ms).toBeGreaterThan(inOrder[index - 1]?.until_ms ?? 0);
        }
      }
    }
    using store = open();
    expect(listLeases(store).filter(({ state }) => state === 'creating')).toHaveLength(10);
  });

  it('wait for each other, or say that the database is locked', async () => {
    using hasty = open(0);
    using patient = open();
    const rival = new Rival(0);
    expect(await rival.says()).toBe('inside');
    expect(() => claim(hasty, [{ topology: 'bridge' }], range)).toThrow(/it is locked by another process/);
    expect(() => open(0)).toThrow(/it is locked by another process/);
    expect(listLeases(hasty)).toEqual([]);
    rival.go();
    expect(places(claim(patient, [{ topology: 'bridge' }], range))).toEqual([[2, 1, '10.8.64.3']]);
    expect(places(listLeases(patient))).toEqual([
      [1, 1, '10.8.64.2'],
      [2, 1, '10.8.64.3'],
    ]);
  });

  it('lose nothing but its own where one is killed inside of a transaction', async () => {
    const rival = new Rival(0);
    expect(await rival.says()).toBe('inside');
    await rival.kill();
    using store = open(0);
    expect(listLeases(store)).toEqual([]);
    expect(places(claim(store, [{ topology: 'bridge' }], range))).toEqual([[1, 1, '10.8.64.2']]);
  });
});
