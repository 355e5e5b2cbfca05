// One of several processes that share a lease database, as the tests start it: `node rival.ts DATABASE TURNS HOLD`.
// It says `ready`, waits for a line, and then claims TURNS times, a lease of each topology in turn, never holding more
// than HOLD of them. With TURNS 0 it claims once, says `inside` before the commit, and commits at the next line.
import { readSync } from 'node:fs';
import { systemClock } from '../clock.ts';
import { claim } from './allocator.ts';
import { awaitingProbe, markProbed } from './bridge/probe.ts';
import { type Lease, parseSlot, TOPOLOGIES } from './lease.ts';
import { enterQuarantine, markFlushed, releaseDue } from './quarantine.ts';
import { openStore } from './store.ts';
import { advance } from './transition.ts';

/** What one process held, and no other may have: on a clock that all of them share. */
export interface Tenure {
  readonly slot: number;
  readonly generation: number;
  readonly bridgeAddress: number | undefined;
  /** After the commit of the claim. */
  readonly from_ms: number;
  /** Before the first step of the removal. */
  until_ms: number;
}

const range = { first: parseSlot(1), last: parseSlot(16) };

function awaitLine(say: string): void {
  process.stdout.write(`${say}\n`);
  readSync(0, new Uint8Array(1));
}

function run(path: string, turns: number, hold: number): Tenure[] {
  using store = openStore(path, systemClock(), { busyTimeout_ms: 30_000 });
  const { clock } = store;
  if (turns === 0) {
    store.transaction('full', () => {
      claim(store, [{ topology: 'bridge' }], range);
      awaitLine('inside');
    });
    return [];
  }
  const tenures: Tenure[] = [];
  const held: { lease: Lease; tenure: Tenure }[] = [];
  awaitLine('ready');
  for (let turn = 0; turn < turns; turn += 1) {
    const [lease] = claim(store, [{ topology: TOPOLOGIES[turn % TOPOLOGIES.length] ?? 'netns' }], range);
    if (lease === undefined) throw new Error('No lease');
    const { slot, generation, bridgeAddress } = lease;
    const tenure = { slot, generation, bridgeAddress, from_ms: clock.monotonicMs(), until_ms: Number.MAX_VALUE };
    tenures.push(tenure);
    held.push({ lease, tenure });
    const oldest = held.length > hold ? held.shift() : undefined;
    if (oldest === undefined) continue;
    oldest.tenure.until_ms = clock.monotonicMs();
    advance(store, oldest.lease, 'removing');
    enterQuarantine(store, oldest.lease, { floor_ms: 0 });
    markFlushed(store, [oldest.lease]);
    // What the other has removed is freed here, too.
    releaseDue(store, 4);
    markProbed(store, awaitingProbe(store, 4));
  }
  return tenures;
}

const [path = '', turns, hold] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(run(path, Number(turns), Number(hold)))}\n`);
