import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import { CulvertError } from '../../errors.ts';
import { SyscallError } from '../syscall.ts';
import { claimedAddress, probe } from './claim.ts';
import type { ArpPacket } from './packet.ts';
import { Probes } from './probes.ts';
import type { ArpSocket } from './socket.ts';
import { type ArpTiming, RFC_5227 } from './timing.ts';

/** More than a bridge has ports. */
const MAX_PROBES = 1024;

/** How many frames one poll looks at; the rest waits for the next. */
const MAX_FRAMES = 2048;

/** What the wire said of an address. Only `free` says that nobody answered. */
export type ProbeResult =
  | { readonly address: Ipv4; readonly outcome: 'free' }
  /** `mac` says that it has the address; where nobody had asked, it is `claimed`. */
  | { readonly address: Ipv4; readonly outcome: 'in_use' | 'claimed'; readonly mac: Mac }
  /** An answer may have been missed, or a question was never sent. */
  | { readonly address: Ipv4; readonly outcome: 'unverified'; readonly cause: CulvertError };

export type ProberOptions = {
  readonly timing?: ArpTiming;
  /** from 0 to less than 1 */
  readonly random?: () => number;
  /** Whether the address is this one's by right, so that it may claim it. */
  readonly isOwner?: (address: Ipv4, mac: Mac) => boolean;
};

/**
 * Asks the wire whether addresses are taken (RFC 5227), many at once, and hears who claims one unasked. It never waits:
 * {@link start}, then {@link poll} every now and then until each address has its result.
 */
export class Prober {
  readonly #socket: ArpSocket;
  readonly #mac: Mac;
  readonly #isOwner: (address: Ipv4, mac: Mac) => boolean;
  readonly #probes: Probes;

  /** @param mac of the link, which its probes come from; a probe from another is a rival's */
  constructor(socket: ArpSocket, mac: Mac, options: ProberOptions = {}) {
    const { timing = RFC_5227, random = Math.random, isOwner = () => false } = options;
    this.#socket = socket;
    this.#mac = mac;
    this.#isOwner = isOwner;
    this.#probes = new Probes(timing, random);
  }

  /** How many addresses have no result yet. */
  get size(): number {
    return this.#probes.size;
  }

  /** How many more can be asked for. */
  get room(): number {
    return MAX_PROBES - this.#probes.size;
  }

  /**
   * Asks for the address from the next poll on; one that is asked for already gets one result.
   *
   * @throws CulvertError `too_many_probes`
   */
  start(address: Ipv4): void {
    if (this.room <= 0 && !this.#probes.has(address)) {
      throw new CulvertError(
        'too_many_probes',
        `Cannot probe ${formatIpv4(address)}: ${MAX_PROBES} addresses are being probed already`,
      );
    }
    this.#probes.start(address);
  }

  /** Asks for the address no more; it gets no result. */
  cancel(address: Ipv4): void {
    this.#probes.cancel(address);
  }

  /**
   * Takes in what was heard and sends what is due.
   *
   * @param nowMs of a clock that never goes back
   * @param limit how many probes to send at most; the rest goes with the next poll
   */
  poll(nowMs: number, limit: number): ProbeResult[] {
    const results: ProbeResult[] = [];
    const drained = this.#listen(results);
    // Where something is still unread, it may be an answer: nothing begins, and nothing is free.
    if (!drained) return results;
    const { send, free } = this.#probes.advance(nowMs, limit);
    for (const address of free) results.push({ address, outcome: 'free' });
    for (const address of send) {
      const cause = this.#ask(address);
      if (cause === undefined) continue;
      this.#probes.cancel(address);
      results.push({ address, outcome: 'unverified', cause });
    }
    return results;
  }

  /** @returns whether all that came was read */
  #listen(results: ProbeResult[]): boolean {
    try {
      const { frames, drained } = this.#socket.receive(MAX_FRAMES);
      this.#hear(
        frames.map(({ packet }) => packet),
        results,
      );
      const drops = this.#socket.takeDrops();
      if (drops > 0) this.#abandon(results, `${drops} frames of ARP were lost to a full queue`, undefined);
      return drained;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#abandon(results, error.message, error);
      return false;
    }
  }

  /** One who repeats a claim is heard once. */
  #hear(packets: readonly ArpPacket[], results: ProbeResult[]): void {
    const heard = new Set<string>();
    for (const packet of packets) {
      const mac = packet.senderMac;
      const address = claimedAddress(packet, this.#mac);
      if (address === undefined || this.#isOwner(address, mac)) continue;
      const claim = `${address} ${formatMac(mac)}`;
      const isAnswer = this.#probes.claim(address);
      if (!heard.has(claim)) results.push({ address, outcome: isAnswer ? 'in_use' : 'claimed', mac });
      heard.add(claim);
    }
  }

  #abandon(results: ProbeResult[], reason: string, error: SyscallError | undefined): void {
    for (const address of this.#probes.abandon()) {
      results.push({ address, outcome: 'unverified', cause: unverified(address, reason, error) });
    }
  }

  #ask(address: Ipv4): CulvertError | undefined {
    try {
      this.#socket.send(probe(this.#mac, address));
      return undefined;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return unverified(address, error.message, error);
    }
  }
}

function unverified(address: Ipv4, reason: string, cause: SyscallError | undefined): CulvertError {
  return new CulvertError('probe_failed', `Cannot tell whether ${formatIpv4(address)} is free: ${reason}`, { cause });
}
