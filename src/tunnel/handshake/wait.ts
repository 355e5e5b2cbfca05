import { setTimeout as pause } from 'node:timers/promises';
import type { SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';

/** How often it is looked. */
const LOOK_MS = 10;

/** A session is good for that long after its handshake (WireGuard, 6.1: REJECT_AFTER_TIME). */
export const SESSION_MS = 180_000;

/**
 * Waits for a handshake with any of the peers.
 *
 * @param read what the device says
 * @param sinceMs since the epoch: a handshake of before does not count
 * @returns undefined where there is none in that time
 */
export async function untilHandshake(
  read: () => SeenDevice,
  {
    sinceMs,
    timeoutMs,
    signal,
  }: { readonly sinceMs: number; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<SeenPeer | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const peer = latestPeer(read());
    if (peer !== undefined && peer.lastHandshakeMs > sinceMs) return peer;
    if (signal.aborted || performance.now() >= deadline) return undefined;
    // oxlint-disable-next-line no-await-in-loop -- asked again and again
    await pause(LOOK_MS);
  }
}

/** The one that has had a handshake last. */
export function latestPeer({ peers }: SeenDevice): SeenPeer | undefined {
  return [...peers.values()]
    .filter(({ lastHandshakeMs }) => lastHandshakeMs > 0)
    .toSorted((one, other) => other.lastHandshakeMs - one.lastHandshakeMs)[0];
}
