import { readdirSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { Kernel } from '../../linux/apply.ts';
import { ROOT, ROUTER } from '../../plan/state.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { viaLink } from '../../sandbox/via.ts';
import { foldersOf } from '../../tunnel/client/folders.ts';
import { clean } from '../../tunnel/client/remains.ts';
import { wireError } from '../../wire-error.ts';
import { KeptTunnel } from './kept-tunnel.ts';
import { keepRules } from './router-rules.ts';
import type { Order, ViaData, ViaNews } from './via-tunnels.ts';
import type { Wish } from './wish.ts';

/*
 * The thread that keeps the tunnels of sandboxes and groups: it is told which there are to be, and tells what becomes of
 * them. To make one takes waiting, for a program, for a peer, for names, which no other thread of the daemon should do.
 */

/** How often it is looked whether somebody has changed the rules in the router. */
const RULES_MS = 5000;

const { files, pins, runFolder, stateFolder } = workerData as ViaData;
const folders = { runFolder, stateFolder };
const port = parentPort;
if (port === null) throw new Error('via-thread.ts runs as a worker');
const tell = (news: ViaNews): void => port.postMessage(news);

const kernel = new Kernel(pins, [ROOT]);
/** Those that are to be there, by number. */
let wanted: ReadonlyMap<number, Wish> = new Map();
type Kept = { readonly serial: number; readonly tunnel: KeptTunnel };
const kept = new Map<number, Kept>();
/** What is taken away, by number: its successor waits for it. */
const ending = new Map<number, Promise<void>>();
let isClosing = false;

function report(error: unknown): void {
  tell({ news: 'problem', error: wireError(error) });
}

function want(wishes: readonly Wish[]): void {
  wanted = new Map(wishes.map((wish) => [wish.number, wish]));
  for (const [number, { serial, tunnel }] of kept) if (wanted.get(number)?.serial !== serial) end(number, tunnel);
  lookAtRules();
  for (const number of wanted.keys()) {
    const former = ending.get(number);
    if (former === undefined) begin(number);
    else void former.then(() => begin(number));
  }
}

/** @returns what of the rules in the router was not as it is to be */
function lookAtRules(): string[] {
  const inRouter = [...wanted.values()].filter(({ namespace }) => namespace === ROUTER);
  try {
    return keepRules(
      kernel,
      inRouter.map(({ number }) => number),
    );
  } catch (error) {
    report(error);
    return [];
  }
}

function end(number: number, tunnel: KeptTunnel): void {
  kept.delete(number);
  const ended = tunnel.end().catch(report);
  ending.set(number, ended);
  void ended.then(() => ending.delete(number));
}

function begin(number: number): void {
  const wish = wanted.get(number);
  if (wish === undefined || isClosing || kept.has(number)) return;
  const { serial } = wish;
  const connected = (notices: readonly string[]): void => tell({ news: 'connected', serial, notices });
  const failed = (error: Error): void => tell({ news: 'failed', serial, error: wireError(error) });
  const silent = (error: Error): void => tell({ news: 'silent', serial, error: wireError(error) });
  const begins = (key: Key): void => tell({ news: 'begins', serial, key });
  kept.set(number, {
    serial,
    tunnel: new KeptTunnel({ wish, files, pins, folders, begins, connected, silent, failed }),
  });
}

/** What a daemon that was killed has left of sandboxes that are gone. */
function sweep(wishes: readonly Wish[]): void {
  const names = new Set(wishes.map(({ number }) => viaLink(number)));
  for (const name of namesIn(foldersOf(folders).common)) {
    if (!name.startsWith('via-') || names.has(name)) continue;
    try {
      for (const error of clean(name, folders).failed) report(error);
    } catch (error) {
      report(error);
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function close(): Promise<void> {
  isClosing = true;
  clearInterval(looking);
  await Promise.all([...[...kept.values()].map(({ tunnel }) => tunnel.leave().catch(report)), ...ending.values()]);
  kernel[Symbol.dispose]();
  port?.close();
}

const looking = setInterval(() => {
  const changes = lookAtRules();
  if (changes.length > 0) tell({ news: 'repaired', changes });
}, RULES_MS);

let isFirst = true;

port.on('message', (order: Order) => {
  if (order === 'close') void close();
  else {
    if (isFirst) sweep(order);
    isFirst = false;
    want(order);
  }
});
