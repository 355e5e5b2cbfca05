import { setTimeout as pause } from 'node:timers/promises';
import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { type Inside, newNonce, openEcho } from './echo-socket.ts';
import type { Whom } from './whom.ts';

/** What came of a question inside a tunnel: an answer to it; something from the peer, such as what keeps alive; nothing. */
export type Heard = 'answer' | 'something' | 'nothing';

export type Listening = {
  readonly inside: Inside;
  readonly peer: Key;
  /** who may answer behind it */
  readonly whom: readonly Whom[];
  /** whether something from the peer is enough */
  readonly isContent: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

/** How often it is looked, and asked. */
const LOOK_MS = 10;
const ASK_MS = 1000;
/** bytes: what passes anywhere */
const SMALL = 64;

/**
 * Asks by a session that there is, which it leaves alone. A peer that gets anything but what keeps alive says something
 * within ten seconds, if only to keep alive (WireGuard, 6.5), whoever answers inside; one that is not there does not.
 *
 * @param read what the device says
 */
export async function hear(read: () => SeenDevice, listening: Listening): Promise<Heard> {
  const { inside, peer, whom, isContent, timeoutMs, signal } = listening;
  using socket = openEcho(inside);
  const receivedOf = (): number => read().peers.get(peer)?.received ?? 0;
  const before = receivedOf();
  const nonces = new Set<bigint>();
  const deadline = performance.now() + timeoutMs;
  let askMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    if (socket.answers().some(({ nonce }) => nonces.has(nonce))) return 'answer';
    const isHeard = receivedOf() > before;
    if (isHeard && isContent) return 'something';
    const nowMs = performance.now();
    if (signal.aborted || nowMs >= deadline) return isHeard ? 'something' : 'nothing';
    if (nowMs - askMs >= ASK_MS) {
      askMs = nowMs;
      for (const one of whom) {
        const nonce = newNonce();
        nonces.add(nonce);
        socket.ask(one, nonce, SMALL);
      }
    }
    // oxlint-disable-next-line no-await-in-loop -- asked again and again; it has a limit
    await pause(LOOK_MS);
  }
}
