import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import { CulvertError } from '../../errors.ts';
import { SyscallError } from '../syscall.ts';
import { announcement } from './claim.ts';
import type { ArpSocket } from './socket.ts';
import { type ArpTiming, RFC_5227 } from './timing.ts';

/** More than a bridge has ports. */
const MAX_PENDING = 1024;

/** What is still to be said, and when. */
type Pending = { readonly mac: Mac; readonly left: number; readonly dueMs: number };

/**
 * Says which addresses are where from now on (RFC 5227, 2.3), with the next {@link poll} and again with later ones, so
 * that who hands an address out does not wait for the wire. The sender is the address's owner, so the link that it is
 * said on may be another's, such as the bridge's.
 */
export class Announcer {
  readonly #socket: ArpSocket;
  readonly #timing: ArpTiming;
  readonly #pending = new Map<Ipv4, Pending>();

  constructor(socket: ArpSocket, timing: ArpTiming = RFC_5227) {
    this.#socket = socket;
    this.#timing = timing;
  }

  /** How many addresses are to be announced, or announced again. */
  get size(): number {
    return this.#pending.size;
  }

  /**
   * @param nowMs of a clock that never goes back
   * @throws CulvertError `too_many_announcements`; the address is not announced
   */
  announce(address: Ipv4, mac: Mac, nowMs: number): void {
    this.#pending.delete(address);
    if (this.#pending.size >= MAX_PENDING) {
      throw new CulvertError(
        'too_many_announcements',
        `Cannot announce ${formatIpv4(address)}: ${MAX_PENDING} addresses are being announced already`,
      );
    }
    this.#pending.set(address, { mac, left: this.#timing.announceNum, dueMs: nowMs });
  }

  /** The address has another owner, or none: what was to be said of it is not true any more. */
  cancel(address: Ipv4): void {
    this.#pending.delete(address);
  }

  /**
   * Says what is due, at most `limit` of it.
   *
   * @returns a CulvertError `announcement_failed` for each that was not sent and is given up
   */
  poll(nowMs: number, limit: number): CulvertError[] {
    const failures: CulvertError[] = [];
    const due = [...this.#pending].filter(([, { dueMs }]) => dueMs <= nowMs).slice(0, limit);
    for (const [address, pending] of due) {
      this.#pending.delete(address);
      try {
        this.#say(address, pending, nowMs);
      } catch (error) {
        if (!(error instanceof CulvertError)) throw error;
        failures.push(error);
      }
    }
    return failures;
  }

  #say(address: Ipv4, { mac, left }: Pending, nowMs: number): void {
    try {
      this.#socket.send(announcement(mac, address));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw new CulvertError('announcement_failed', `Cannot announce ${formatIpv4(address)}: ${error.message}`, {
        cause: error,
      });
    }
    if (left > 1) this.#pending.set(address, { mac, left: left - 1, dueMs: nowMs + this.#timing.announceIntervalMs });
  }
}
