import { tunnelWay, type Way } from './way.ts';

/** The steps of a change of ways, in order; `done` is between changes. */
export type Phase = 'accept' | 'send' | 'drop' | 'done';

/** How all hosts are to send to each other, and how far the change to it has come. */
export type Epoch = {
  /** grows by one with each change */
  readonly number: number;
  readonly phase: Phase;
  readonly encrypts: boolean;
  /** of the keys; each has a device of its own */
  readonly rotation: number;
  /** what becomes of packets to a host that no tunnel reaches: they wait, or go in clear */
  readonly whenDown: 'wait' | 'clear';
};

/** The device of the current keys, which is there whether or not it is used. */
export function tunnelWayOf({ rotation }: Pick<Epoch, 'rotation'>): Exclude<Way, 'clear'> {
  return tunnelWay(rotation);
}

export function wayOf({ encrypts, rotation }: Pick<Epoch, 'encrypts' | 'rotation'>): Way {
  return encrypts ? tunnelWay(rotation) : 'clear';
}

/** How one host goes with one other. */
export type Course = {
  /** by which it sends what is for the other's sandboxes */
  readonly sends: Way;
  /** whether it takes in what the other sends in clear */
  readonly acceptsClear: boolean;
};

/** What a host says of itself to another. */
export type Heard = {
  /** by which it sends to the other; undefined for none yet */
  readonly way: Way | undefined;
  /** the number of the epoch that it knows of */
  readonly epoch: number;
};

/** What is known of the ways to a host. */
export type Known = {
  /** what the other said when it was last heard; undefined for not yet */
  readonly heard: Heard | undefined;
  /** whether it has said so for so long that what it sent otherwise before has arrived, or never will */
  readonly isSettled: boolean;
  /** whether a packet of the whole size has lately gone and come back */
  readonly isProved: (way: Way) => boolean;
  /** whether nothing has come back for long */
  readonly isDead: (way: Way) => boolean;
};

/**
 * The next course after one that is kept. It changes by one step at a time, of which each is safe by itself: nothing is
 * sent by a way that has not carried a packet of the whole size there and back just now, and nothing is refused that the
 * other may still send. One that knows of another epoch may: what it asks says so, and is answered before it sends.
 *
 *             accept               send                    drop
 *     clear ─▶ takes in both ──▶ proved: sends encrypted ──▶ the other does: refuses clear
 *
 * Pure, and without memory: whoever starts anew goes on from what the kernel has.
 */
export function nextCourse({ sends, acceptsClear }: Course, epoch: Epoch, known: Known): Course {
  const target = wayOf(epoch);
  const next = nextWay(sends, epoch, known);
  if (target === 'clear' || epoch.whenDown === 'clear') return { sends: next, acceptsClear: true };
  const isMoved = known.heard?.epoch === epoch.number && known.heard.way !== undefined && known.heard.way !== 'clear';
  const refuses = (epoch.phase === 'drop' || epoch.phase === 'done') && isMoved && known.isSettled;
  return { sends: next, acceptsClear: acceptsClear && !refuses };
}

function nextWay(sends: Way, epoch: Epoch, { isProved, isDead }: Known): Way {
  const target = wayOf(epoch);
  const tunnel = tunnelWay(epoch.rotation);
  if (sends !== target && epoch.phase !== 'accept' && isProved(target)) return target;
  // what is not to be hidden goes by the tunnel rather than not at all
  if (sends === 'clear' && isDead('clear') && isProved(tunnel)) return tunnel;
  if (epoch.whenDown === 'clear' && sends !== 'clear' && isDead(sends) && isProved('clear')) return 'clear';
  return sends;
}

/** How far the two have come: the phase that is behind them. */
export function phaseReached({ sends, acceptsClear }: Course, epoch: Epoch, heard: Heard | undefined): Phase {
  const target = wayOf(epoch);
  if (sends !== target) return 'accept';
  const isMoved = heard?.epoch === epoch.number && heard.way === target;
  const takesClear = target === 'clear' || epoch.whenDown === 'clear';
  return isMoved && (takesClear || !acceptsClear) ? 'drop' : 'send';
}

/** The ways that must be there for a host, and are to be asked by. */
export function waysInUse({ sends }: Course, epoch: Epoch, heard: Heard | undefined): ReadonlySet<Way> {
  const ways = new Set<Way>([sends, wayOf(epoch), tunnelWay(epoch.rotation)]);
  if (heard?.way !== undefined) ways.add(heard.way);
  if (epoch.whenDown === 'clear') ways.add('clear');
  return ways;
}
