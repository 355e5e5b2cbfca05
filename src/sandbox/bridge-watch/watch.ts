import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import { prefixHas } from '../../addr/prefix.ts';
import { CulvertError } from '../../errors.ts';
import { awaitingProbe, markProbed, unheldAddresses } from '../../ipam/bridge/probe.ts';
import { hostsOf } from '../../ipam/bridge/range.ts';
import { bridgeUsage } from '../../ipam/bridge/usage.ts';
import type { Slot } from '../../ipam/lease.ts';
import { leaseOfBridgeAddress } from '../../ipam/lookup.ts';
import type { Store } from '../../ipam/store.ts';
import type { Kernel } from '../../linux/apply.ts';
import type { ProbeResult } from '../../linux/arp/prober.ts';
import { type ArpTiming, RFC_5227 } from '../../linux/arp/timing.ts';
import { type NewEvent, type Problem, subjectOf } from '../event.ts';
import { bridgeGateway, bridgeMac, type Layout } from '../topology/layout.ts';
import { Conflicts, conflictsText } from './conflicts.ts';
import { fillingText } from './filling.ts';
import { Strangers } from './strangers.ts';
import { Wire } from './wire.ts';

/** Addresses that one step looks at: all that a range can have. */
const ADDRESSES_PER_STEP = 4096;
/** How long an address that nobody told of may wait to be seen, next to the seconds that a probe takes. */
const NONE_WAITS_MS = 100;
/** How often all free addresses are asked for again while a stranger is on the bridge: who is behind it may change. */
const PATROL_MS = 60_000;
/** How often it is counted how full the bridge is. */
const COUNT_MS = 1000;
/** How long a claim of the gateway's address stays a problem that a person sees. */
const CLAIM_SHOWN_MS = 60_000;

export type BridgeWatchParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly layout: Layout;
  readonly timing?: ArpTiming;
  readonly emit: (event: NewEvent) => void;
  /** Gives up a warm network, so that it is not handed out. */
  readonly discard: (slot: Slot) => void;
};

/**
 * Sees to it that an address of the bridge at which another answers is not handed out, and says of those that are
 * handed out whose they are now. Nobody waits for it: it does a little with each step.
 *
 *     new in the range, or let go ──▶ waits ──▶ asked for on the wire (RFC 5227) ──silence──▶ may be handed out
 *                                       │                    └──an answer──▶ in conflict ──silence, later──┘
 *                                       └── nobody is on the bridge who could answer ──▶ may be handed out at once,
 *                                           and is asked for all the same
 *
 * A sandbox that answers for another's address is no conflict: anti-spoof stops what it says, and if it counted, one
 * sandbox could take every address from the others. What can speak unstopped is a port that is none of a sandbox.
 */
export class BridgeWatch implements Disposable {
  readonly #parts: BridgeWatchParts;
  readonly #wire: Wire;
  readonly #strangers: Strangers;
  readonly #conflicts: Conflicts;
  #lookFailure: string | undefined;
  #patrolMs = 0;
  #countMs = 0;
  #filling: string | undefined;
  /** Until when it is not asked again whether an address waits, since none did. */
  #noneUntilMs = Number.NEGATIVE_INFINITY;
  #gateway: { readonly mac: string; readonly untilMs: number } | undefined;

  /** @param parts.store with a bridge range */
  constructor(parts: BridgeWatchParts) {
    this.#parts = parts;
    const { store, kernel, timing = RFC_5227 } = parts;
    this.#wire = new Wire(kernel, timing, (address, mac) => this.#isOwner(address, mac));
    this.#strangers = new Strangers(kernel);
    this.#conflicts = new Conflicts(store);
  }

  /** @param nowMs of a clock that never goes back */
  step(nowMs: number): void {
    this.#hear(this.#wire.step(nowMs), nowMs);
    const waiting = this.#waiting(nowMs);
    const isNew = this.#look(nowMs, waiting.length > 0);
    if (this.#strangers.names?.length === 0) markProbed(this.#parts.store, waiting);
    this.#wire.ask([...waiting, ...this.#conflicts.due(nowMs), ...this.#patrol(nowMs, isNew)]);
    this.#count(nowMs);
  }

  /** An address may wait from now on: the next step looks. */
  expect(): void {
    this.#noneUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** The address has an owner from now on. */
  announce(address: Ipv4, nowMs: number): void {
    this.#wire.announce(address, nowMs);
  }

  /** Its owner has it no more. */
  withdraw(address: Ipv4): void {
    this.#wire.withdraw(address);
  }

  problems(nowMs: number): Problem[] {
    const problems: Problem[] = [];
    const add = (code: string, message: string | undefined): void => {
      if (message !== undefined) problems.push({ code, message });
    };
    add('bridge_unwatched', this.#lookFailure ?? this.#wire.failure(nowMs));
    const { all } = this.#conflicts;
    if (all.length > 0) add('address_conflict', `${conflictsText(all)}; these are not handed out until it is silent`);
    if (this.#gateway !== undefined && nowMs < this.#gateway.untilMs) {
      add('gateway_conflict', `Another claims the gateway’s address on the bridge (MAC address ${this.#gateway.mac})`);
    }
    add('bridge_filling', this.#filling);
    return problems;
  }

  [Symbol.dispose](): void {
    this.#wire[Symbol.dispose]();
  }

  #hear(results: readonly ProbeResult[], nowMs: number): void {
    const silent: Ipv4[] = [];
    for (const result of results) {
      switch (result.outcome) {
        case 'free':
          if (this.#conflicts.has(result.address)) this.#clear(result.address);
          else silent.push(result.address);
          break;
        case 'in_use':
        case 'claimed':
          this.#claimed(result.address, result.mac, nowMs);
          break;
        case 'unverified':
          // it waits as before, and is asked for again
          break;
      }
    }
    markProbed(this.#parts.store, silent);
  }

  #waiting(nowMs: number): Ipv4[] {
    if (nowMs < this.#noneUntilMs) return [];
    const waiting = awaitingProbe(this.#parts.store, ADDRESSES_PER_STEP);
    if (waiting.length === 0) this.#noneUntilMs = nowMs + NONE_WAITS_MS;
    return waiting;
  }

  /** Not a stranger, but who holds the address, and is the only one that anti-spoof lets speak for it. */
  #isOwner(address: Ipv4, mac: Mac): boolean {
    if (formatMac(mac) !== formatMac(bridgeMac(address))) return false;
    return leaseOfBridgeAddress(this.#parts.store, address) !== undefined;
  }

  #claimed(address: Ipv4, mac: Mac, nowMs: number): void {
    const { store, layout, emit, discard } = this.#parts;
    if (address === bridgeGateway(layout)) return this.#gatewayClaimed(mac, nowMs);
    const { first, last } = hostsOf(layout.bridgeRange);
    if (!prefixHas(layout.bridgeRange, address) || address < first || address > last) return;
    const isNews = this.#conflicts.record(address, mac, nowMs);
    if (isNews) this.#strangers.suspect();
    const holder = leaseOfBridgeAddress(store, address);
    if (holder?.state === 'warm') discard(holder.slot);
    if (!isNews) return;
    const text = `${formatIpv4(address)} is claimed on the bridge by MAC address ${formatMac(mac)}`;
    const message = `${text}${holder?.state === 'ready' ? `, and it is that of sandbox ${holder.sandboxId}` : ''}`;
    emit({
      type: 'address.conflict',
      message,
      ...subjectOf(holder),
      data: { address: formatIpv4(address), mac: formatMac(mac) },
    });
  }

  #gatewayClaimed(mac: Mac, nowMs: number): void {
    const text = formatMac(mac);
    const isNews = this.#gateway?.mac !== text || nowMs >= this.#gateway.untilMs;
    this.#gateway = { mac: text, untilMs: nowMs + CLAIM_SHOWN_MS };
    if (!isNews) return;
    const address = formatIpv4(bridgeGateway(this.#parts.layout));
    const message = `${address}, the gateway’s address, is claimed on the bridge by MAC address ${text}`;
    this.#parts.emit({ type: 'address.conflict', message, data: { address, mac: text } });
  }

  #clear(address: Ipv4): void {
    this.#conflicts.clear(address);
    const text = formatIpv4(address);
    const message = `${text} is silent again: it may be handed out`;
    this.#parts.emit({ type: 'address.cleared', message, data: { address: text } });
  }

  /** @returns whether a stranger is there that was not */
  #look(nowMs: number, matters: boolean): boolean {
    try {
      const names = this.#strangers.look(nowMs, matters);
      this.#lookFailure = undefined;
      if (names.length === 0) return false;
      const text = `${names.join(', ')} on the bridge is no sandbox’s`;
      const message = `${text}: from now on each address is asked for in full before it is handed out`;
      this.#parts.emit({ type: 'bridge.stranger', message, data: { links: names } });
      return true;
    } catch (error) {
      if (!(error instanceof CulvertError)) throw error;
      this.#lookFailure = error.message;
      return false;
    }
  }

  /** All addresses that nobody holds, and the gateway's, where there may be somebody who claims one. */
  #patrol(nowMs: number, now: boolean): Ipv4[] {
    if (this.#strangers.names?.length === 0) return [];
    if (!now && nowMs < this.#patrolMs) return [];
    this.#patrolMs = nowMs + PATROL_MS;
    return [bridgeGateway(this.#parts.layout), ...unheldAddresses(this.#parts.store)];
  }

  #count(nowMs: number): void {
    if (nowMs < this.#countMs) return;
    this.#countMs = nowMs + COUNT_MS;
    const usage = bridgeUsage(this.#parts.store);
    const before = this.#filling;
    this.#filling = fillingText(usage, this.#strangers.names?.length ?? 0, before !== undefined);
    if (this.#filling === undefined || before !== undefined) return;
    const { free, probing, live, quarantined, conflicts } = usage;
    const data = { free: free + probing, live, quarantined, conflicts };
    this.#parts.emit({ type: 'bridge.filling', message: this.#filling, data });
  }
}
