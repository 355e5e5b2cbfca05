import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ProcessId, processOf } from '../../linux/process.ts';
import { readable } from '../../linux/waiting/poll.ts';
import type { NewEvent } from '../../sandbox/event.ts';
import type { CleanedAfter } from '../../tunnel/client/remains.ts';
import { GRACE_MS, type KeptTunnel, TunnelWatch } from './tunnel-watch.ts';

let child: ChildProcess;
let owner: ProcessId;
let watch: TunnelWatch;
let events: NewEvent[];
/** what there is to be taken away, and what comes of it; of what is not here nobody takes anything away */
let left: Map<string, CleanedAfter | Error>;
let cleaned: string[];

const GONE: CleanedAfter = { done: ['ip link delete vpn'], failed: [], isClosed: false };
const REFUSED: CleanedAfter = { done: [], failed: [new Error('Cannot write it')], isClosed: false };

beforeEach(async () => {
  child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child, 'spawn');
  const id = processOf(child.pid ?? 0);
  if (id === undefined) throw new Error('It has not begun');
  owner = id;
  events = [];
  left = new Map();
  cleaned = [];
  watch = new TunnelWatch({ emit: (event) => void events.push(event) });
});
afterEach(() => {
  watch[Symbol.dispose]();
  child.kill('SIGKILL');
});

function clean(name: string): CleanedAfter | undefined {
  cleaned.push(name);
  const result = left.get(name);
  if (result instanceof Error) throw result;
  return result;
}

const vpn = (of: ProcessId = owner): KeptTunnel => ({ name: 'vpn', owner: of });
const codes = (): string[] => watch.problems().map(({ code }) => code);

/** Kills the owner, and has the watch hear of it. */
function end(nowMs: number): void {
  child.kill('SIGKILL');
  watch.hear(readable(watch.fds, Number.POSITIVE_INFINITY), nowMs);
}

describe('a tunnel', () => {
  it('is left alone while its owner is there', () => {
    watch.see([vpn()], 0);
    expect([watch.fds.length, watch.dueMs]).toEqual([1, Number.POSITIVE_INFINITY]);
    watch.hear(readable(watch.fds, 0), 1000);
    watch.cleanOne(1e9, clean);
    expect(cleaned).toEqual([]);
  });

  it('is taken away when its owner has ended and nobody has come for it', () => {
    left.set('vpn', { ...GONE, isClosed: true });
    watch.see([vpn()], 0);
    end(100);
    expect([watch.fds, watch.dueMs]).toEqual([[], 100 + GRACE_MS]);
    watch.cleanOne(99 + GRACE_MS, clean);
    expect(cleaned).toEqual([]);
    watch.cleanOne(100 + GRACE_MS, clean);
    expect([cleaned, watch.dueMs]).toEqual([['vpn'], Number.POSITIVE_INFINITY]);
    expect(events).toEqual([
      {
        type: 'tunnel.cleaned',
        message: `Took away what was left of tunnel vpn, whose owner, pid ${owner.pid}, has ended: ip link delete vpn; its kill switch stays until culvert disconnect vpn`,
        data: { tunnel: 'vpn', done: ['ip link delete vpn'], failed: [] },
      },
    ]);
  });

  it('of one that had its owner’s number before is not waited for', () => {
    watch.see([vpn({ ...owner, startTicks: owner.startTicks - 1 })], 0);
    expect([watch.fds, watch.dueMs]).toEqual([[], GRACE_MS]);
  });

  it('is kept by who adopts it', () => {
    const self = processOf(process.pid);
    if (self === undefined) throw new Error('No /proc');
    watch.see([vpn()], 0);
    end(0);
    watch.see([vpn(self)], 100);
    expect([watch.fds.length, watch.dueMs]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  it('that somebody has in hand is asked for again later, and nothing is said of it', () => {
    watch.see([vpn()], 0);
    end(0);
    watch.cleanOne(GRACE_MS, clean);
    expect([cleaned, events, watch.dueMs]).toEqual([['vpn'], [], 2 * GRACE_MS]);
  });

  it('of which the link goes first is taken away all the same when its owner is killed meanwhile', () => {
    watch.see([vpn()], 0);
    watch.see([], 50);
    end(100);
    expect(watch.dueMs).toBe(100 + GRACE_MS);
  });

  it('that a process has disconnected which goes on is forgotten', () => {
    watch.see([vpn()], 0);
    watch.see([], 50);
    expect(watch.fds.length).toBe(1);
    watch.see([], 150);
    expect([watch.fds, watch.dueMs]).toEqual([[], Number.POSITIVE_INFINITY]);
  });

  it('goes alone', () => {
    const self = processOf(process.pid);
    if (self === undefined) throw new Error('No /proc');
    left.set('vpn', GONE);
    watch.see([vpn(), { name: 'other', owner: self }], 0);
    end(0);
    for (let times = 0; times < 3; times++) watch.cleanOne(GRACE_MS, clean);
    expect([cleaned, watch.fds.length]).toEqual([['vpn'], 1]);
  });
});

describe('what is refused', () => {
  it('is tried again, more and more seldom, and is a problem until it is done', () => {
    left.set('vpn', REFUSED);
    watch.take(['vpn'], 0);
    const rests: number[] = [];
    for (let nowMs = watch.dueMs; rests.length < 8; ) {
      watch.cleanOne(nowMs, clean);
      rests.push(watch.dueMs - nowMs);
      nowMs = watch.dueMs;
    }
    expect(rests).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(watch.problems()).toEqual([
      {
        code: 'tunnel_left',
        message: 'Cannot take away all that is left of tunnel vpn, and will try again: Cannot write it',
      },
    ]);
    expect(events.length).toBe(1);
    left.set('vpn', { ...REFUSED, failed: [] });
    watch.cleanOne(watch.dueMs, clean);
    expect([codes(), events.length, watch.dueMs]).toEqual([[], 2, Number.POSITIVE_INFINITY]);
  });

  it('keeps no other from going', () => {
    left.set('bad', new Error('no'));
    left.set('vpn', GONE);
    watch.take(['bad', 'vpn'], 0);
    watch.cleanOne(GRACE_MS, clean);
    watch.cleanOne(GRACE_MS, clean);
    expect([cleaned, codes()]).toEqual([['bad', 'vpn'], ['tunnel_left']]);
  });
});

it('watches no more than it has descriptors for, and says so', () => {
  watch.take(
    Array.from({ length: 1024 }, (_, index) => `t${index}`),
    0,
  );
  watch.see([vpn()], 0);
  expect([watch.fds, codes()]).toEqual([[], ['tunnels_limit']]);
  watch.see([], 0);
  expect(codes()).toEqual([]);
});
