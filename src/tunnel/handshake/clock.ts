import type { Key } from '../../plan/wireguard/key.ts';

/** What is known of this host's clock; ms since the epoch. */
export type ClockFacts = {
  readonly nowMs: number;
  /** when it last had handshakes, by that clock */
  readonly lastMs: ReadonlyMap<Key, number>;
  /** when this program was made: it cannot be earlier */
  readonly madeMs: number;
};

/** What a file's time may be off, by the zone of who made it. */
const DAY_MS = 86_400_000;

/**
 * Whether the clock explains why peers are silent, in words; undefined where it does not. A peer takes no handshake that
 * is not later than the last one of the same key.
 *
 * @param peers that were sent to
 */
export function clockTrouble({ nowMs, lastMs, madeMs }: ClockFacts, peers: readonly Key[]): string | undefined {
  const times = peers.map((peer) => lastMs.get(peer) ?? 0);
  const said = `this host’s clock says ${textOf(nowMs)}`;
  const silent = 'a peer is silent to a handshake that seems no later than the last one';
  const latest = Math.max(0, ...times);
  // where one of them has no reason to be silent it is not the clock
  if (times.length > 0 && times.every((ms) => ms > nowMs)) {
    return `${said}, which is ${agoText(latest - nowMs)} before its last handshake with this peer (${textOf(latest)}): ${silent}; set the clock`;
  }
  if (nowMs < madeMs - DAY_MS) {
    return `${said}, which is before this program was made (${textOf(madeMs)}): ${silent}; set the clock`;
  }
  return undefined;
}

function textOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

const UNITS = [
  ['d', DAY_MS],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const;

function agoText(ms: number): string {
  const [name, unit] = UNITS.find(([, length]) => ms >= 2 * length) ?? (['ms', 1] as const);
  return `${Math.floor(ms / unit)} ${name}`;
}
