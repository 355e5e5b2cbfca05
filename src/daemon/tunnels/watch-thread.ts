import { existsSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { LinkNews } from '../../linux/observe/link-news.ts';
import { listLinks } from '../../linux/observe/links.ts';
import type { ProcessId } from '../../linux/process.ts';
import { readable } from '../../linux/waiting/poll.ts';
import { ROOT } from '../../plan/state.ts';
import { isViaLink } from '../../sandbox/via.ts';
import { foldersOf, namespaceOf } from '../../tunnel/client/folders.ts';
import { holdersIn } from '../../tunnel/client/hold.ts';
import { readMark } from '../../tunnel/owner/mark.ts';
import type { WatchData, WatchNotice } from './notice.ts';
import { type KeptTunnel, TunnelWatch } from './tunnel-watch.ts';

/*
 * The thread that waits for the ends of those who keep tunnels, and takes away what they leave: it stands still in
 * poll(2), and in the programs that set name servers, which no other thread may. It stays in the root namespace.
 */

/** Links are listed no more often than this, however many change … */
const LIST_REST_MS = 100;
/** … and at least so often: of a link that is down the kernel does not tell that it says something else. */
const LIST_MS = 30_000;
/** After what it cannot go on without was refused. */
const TRY_AGAIN_MS = 1000;

const port = parentPort;
if (port === null) throw new Error('watch-thread.ts runs as a worker');
const { folders, bell } = workerData as WatchData;
const { common, state } = foldersOf(folders);

/** Loaded when there is something to take away, which mostly there is not. */
const loadHands = (): Promise<typeof import('../../tunnel/client/remains.ts')> =>
  import('../../tunnel/client/remains.ts');

function tell(notice: WatchNotice): void {
  port?.postMessage(notice);
}

/** What was told last, as text. */
let told = '[]';

function tellProblems(trouble?: unknown): void {
  const message = `Cannot watch who keeps tunnels, and will try again: ${trouble instanceof Error ? trouble.message : String(trouble)}`;
  const problems = [...watch.problems(), ...(trouble === undefined ? [] : [{ code: 'tunnels_unwatched', message }])];
  const text = JSON.stringify(problems);
  if (text === told) return;
  told = text;
  tell({ problems });
}

using watch = new TunnelWatch({
  emit: (event) => tell({ event }),
});

/** Those of sandboxes stay when a daemon ends, for the next to take over with their sessions. */
function isOfSandboxes(name: string): boolean {
  return isViaLink(name) && namespaceOf(name, folders) !== undefined;
}

/** With those that have their links in other namespaces. */
function keptTunnels(socket: NetlinkSocket): KeptTunnel[] {
  const owners = new Map<string, ProcessId>();
  for (const { end, alias } of listLinks(socket, ROOT)) {
    const mark = readMark(alias);
    if (mark !== undefined) owners.set(end.link.name, mark.owner);
  }
  for (const [name, holder] of holdersIn(common)) owners.set(name, holder);
  return [...owners].flatMap(([name, owner]) => (isOfSandboxes(name) ? [] : [{ name, owner }]));
}

let hasTakenUp = false;

/** What an owner has left that ended while no daemon was there, and of which the link is gone too. */
async function takeUp(): Promise<void> {
  if (hasTakenUp) return;
  if (existsSync(common) || existsSync(state)) {
    const { listTunnels } = await loadHands();
    const left = listTunnels(folders).flatMap(({ name, owner }) =>
      owner === undefined && !isOfSandboxes(name) ? [name] : [],
    );
    watch.take(left, performance.now());
  }
  hasTakenUp = true;
}

/** Returns when it is to end. */
async function follow(): Promise<void> {
  using news = new LinkNews();
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  let listedMs = Number.NEGATIVE_INFINITY;
  let hasNews = true;
  for (;;) {
    const rest = (): number => listedMs + (hasNews ? LIST_REST_MS : LIST_MS) - performance.now();
    if (rest() <= 0) {
      news.take();
      listedMs = performance.now();
      watch.see(keptTunnels(socket), listedMs);
      hasNews = false;
    }
    // oxlint-disable-next-line no-await-in-loop -- once
    await takeUp();
    if (watch.dueMs <= performance.now()) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { cleanAfter } = await loadHands();
      watch.cleanOne(performance.now(), (name) => cleanAfter(name, folders));
    }
    tellProblems();
    const waits = Math.min(watch.dueMs - performance.now(), rest());
    const ready = readable([bell, ...watch.fds, ...(hasNews ? [] : [news.fd])], waits);
    if (ready.has(bell)) return;
    watch.hear(ready, performance.now());
    hasNews ||= ready.has(news.fd);
  }
}

// as the other threads do
flushCompileCache();
for (let isOver = false; !isOver; ) {
  try {
    // oxlint-disable-next-line no-await-in-loop -- again where it could not go on
    await follow();
    isOver = true;
  } catch (error) {
    tellProblems(error);
    isOver = readable([bell], TRY_AGAIN_MS).has(bell);
  }
}
