import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import { Announcer } from '../../linux/arp/announcer.ts';
import { type ProbeResult, Prober } from '../../linux/arp/prober.ts';
import { ArpSocket } from '../../linux/arp/socket.ts';
import type { ArpTiming } from '../../linux/arp/timing.ts';
import { SyscallError } from '../../linux/syscall.ts';
import { ROUTER } from '../../plan/state.ts';
import { BRIDGE, BRIDGE_MAC, bridgeMac } from '../topology/layout.ts';

/** Frames of each kind that one step sends, so that a step stays short: some 20 µs each. */
const FRAMES_PER_STEP = 16;
/** How long it waits before it tries again to listen. */
const REOPEN_MS = 1000;
/** How long a question that could not be asked stays a problem that a person sees. */
const FAILURE_SHOWN_MS = 60_000;

type Ears = { readonly socket: ArpSocket; readonly prober: Prober; readonly announcer: Announcer };

/**
 * ARP on the bridge: asks, announces and hears, and listens again where the bridge went away and came back. What was
 * under way then is forgotten: who asked asks again.
 */
export class Wire implements Disposable {
  readonly #kernel: Kernel;
  readonly #timing: ArpTiming;
  readonly #isOwner: (address: Ipv4, mac: Mac) => boolean;
  #open: Ears | undefined;
  #openMs = 0;
  #failure: { readonly message: string; readonly untilMs: number } | undefined;

  constructor(kernel: Kernel, timing: ArpTiming, isOwner: (address: Ipv4, mac: Mac) => boolean) {
    this.#kernel = kernel;
    this.#timing = timing;
    this.#isOwner = isOwner;
  }

  /** Asks for as many of the addresses as there is room for; one that is asked for already goes on. */
  ask(addresses: readonly Ipv4[]): void {
    const prober = this.#open?.prober;
    if (prober === undefined) return;
    for (const address of addresses) {
      if (prober.room <= 0) return;
      prober.start(address);
    }
  }

  /** Says with the next steps that the address is its owner's now, and asks for it no more: it is asked anew when let go. */
  announce(address: Ipv4, nowMs: number): void {
    this.#open?.prober.cancel(address);
    try {
      this.#open?.announcer.announce(address, bridgeMac(address), nowMs);
    } catch (error) {
      this.#note(error, nowMs);
    }
  }

  withdraw(address: Ipv4): void {
    this.#open?.announcer.cancel(address);
  }

  /** What was heard since the last step; sends what is due. */
  step(nowMs: number): ProbeResult[] {
    const open = this.#open ?? this.#listen(nowMs);
    if (open === undefined) return [];
    const results = open.prober.poll(nowMs, FRAMES_PER_STEP);
    const causes = results.flatMap((result) => (result.outcome === 'unverified' ? [result.cause] : []));
    for (const failure of [...causes, ...open.announcer.poll(nowMs, FRAMES_PER_STEP)]) this.#note(failure, nowMs);
    return results;
  }

  /** Why it cannot ask, or could not lately. */
  failure(nowMs: number): string | undefined {
    return this.#failure !== undefined && nowMs < this.#failure.untilMs ? this.#failure.message : undefined;
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #listen(nowMs: number): Ears | undefined {
    if (nowMs < this.#openMs) return undefined;
    this.#openMs = nowMs + REOPEN_MS;
    try {
      const socket = this.#kernel.inside(ROUTER, () => new ArpSocket(BRIDGE.index));
      const prober = new Prober(socket, BRIDGE_MAC, { timing: this.#timing, isOwner: this.#isOwner });
      this.#open = { socket, prober, announcer: new Announcer(socket, this.#timing) };
    } catch (error) {
      this.#note(error, nowMs);
    }
    return this.#open;
  }

  /** A socket outlives the link that it is bound to, and hears nothing when the link comes back. */
  #note(error: unknown, nowMs: number): void {
    if (!(error instanceof CulvertError)) throw error;
    this.#failure = { message: error.message, untilMs: nowMs + FAILURE_SHOWN_MS };
    if (error.cause instanceof SyscallError) this.#close();
  }

  #close(): void {
    this.#open?.socket[Symbol.dispose]();
    this.#open = undefined;
  }
}
