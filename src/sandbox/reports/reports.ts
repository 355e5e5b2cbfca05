import { formatIpv4 } from '../../addr/ipv4.ts';
import { CulvertError } from '../../errors.ts';
import type { Lease } from '../../ipam/lease.ts';
import type { Store } from '../../ipam/store.ts';
import type { Kernel } from '../../linux/apply.ts';
import { ETH_P_ARP } from '../../linux/arp/packet.ts';
import { PacketLog } from '../../linux/nflog/log.ts';
import type { LoggedPacket } from '../../linux/nflog/packet.ts';
import { type NamespaceName, ROOT, ROUTER } from '../../plan/state.ts';
import type { NewEvent, Problem } from '../event.ts';
import { BRIDGE, type Layout } from '../topology/layout.ts';
import { claimIn } from './claim.ts';
import { deniedEvent, type Refusal, type Spoof, spoofedEvent } from './events.ts';
import { Parties, partyKey } from './parties.ts';
import { Tally } from './tally.ts';

/** Reports that one step reads of each log; the rules make up to 1,800 in a second, and there are many steps in one. */
const REPORTS_PER_STEP = 1024;
/** How long it waits before it tries again to open a log. */
const REOPEN_MS = 5000;
/** How long a loss stays a problem that a person sees. */
const LOSS_SHOWN_MS = 60_000;

export type ReportsParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly layout: Layout;
  /** NFLOG groups that the rules of each namespace report to */
  readonly groups: { readonly router: number; readonly root: number };
  readonly emit: (event: NewEvent) => void;
};

/** One namespace's log, which is opened again where it could not be opened or read. */
type Ear = {
  readonly namespace: NamespaceName;
  readonly group: number;
  log: PacketLog | undefined;
  refusal: string | undefined;
  openMs: number;
  /** packets of logs that were closed, and lost */
  lost: number;
};

/**
 * Turns what the rules report of the packets they stop into events that say who did what: which sandbox sent, and whose
 * address it claimed or where it wanted to go. The rules report a part of a flood, this tells a part of that.
 */
export class Reports implements Disposable {
  readonly #parts: ReportsParts;
  readonly #parties: Parties;
  readonly #ears: readonly Ear[];
  readonly #spoofs = new Tally<Spoof>();
  readonly #refusals = new Tally<Refusal>();
  #lost = 0;
  #lostMs: number | undefined;

  constructor(parts: ReportsParts) {
    this.#parts = parts;
    this.#parties = new Parties(parts.store, parts.layout);
    const ear = (namespace: NamespaceName, group: number): Ear => ({
      namespace,
      group,
      log: undefined,
      refusal: undefined,
      openMs: 0,
      lost: 0,
    });
    this.#ears = [ear(ROUTER, parts.groups.router), ear(ROOT, parts.groups.root)];
  }

  /**
   * Reads what waits. To be called before leases are freed: reports name slots, and slots change hands.
   *
   * @throws what kept one log from being read; the other is read all the same
   */
  step(nowMs: number): void {
    const failures: unknown[] = [];
    for (const ear of this.#ears) {
      const log = ear.log ?? this.#open(ear, nowMs);
      if (log === undefined) continue;
      let packets: readonly LoggedPacket[] = [];
      let taken = 0;
      try {
        packets = log.poll(REPORTS_PER_STEP);
        for (; taken < packets.length; taken++) this.#take(ear.namespace, packets[taken] as LoggedPacket, nowMs);
      } catch (error) {
        this.#drop(ear, Math.max(1, packets.length - taken), error, nowMs);
        failures.push(error);
      }
    }
    this.#countLost(nowMs);
    for (const told of this.#spoofs.flush(nowMs)) this.#parts.emit(spoofedEvent(told));
    for (const told of this.#refusals.flush(nowMs)) this.#parts.emit(deniedEvent(told));
    if (failures.length > 0) throw failures[0];
  }

  problems(nowMs: number): Problem[] {
    const problems: Problem[] = this.#ears.flatMap(({ refusal }) =>
      refusal === undefined ? [] : [{ code: 'reports_unheard', message: refusal }],
    );
    if (this.#lostMs !== undefined && nowMs - this.#lostMs < LOSS_SHOWN_MS) {
      const message = `Lost ${this.#lost} reports of stopped packets since the start: events of them are missing`;
      problems.push({ code: 'reports_lost', message });
    }
    return problems;
  }

  [Symbol.dispose](): void {
    for (const { log } of this.#ears) log?.[Symbol.dispose]();
  }

  #open(ear: Ear, nowMs: number): PacketLog | undefined {
    if (nowMs < ear.openMs) return undefined;
    ear.openMs = nowMs + REOPEN_MS;
    try {
      ear.log = this.#parts.kernel.inside(ear.namespace, () => new PacketLog(ear.group));
      ear.refusal = undefined;
    } catch (error) {
      if (!(error instanceof CulvertError)) throw error;
      ear.refusal = `${error.message} (${ear.namespace} namespace): events of stopped packets are missing`;
    }
    return ear.log;
  }

  /**
   * What waits in a log would be read when the slots that it names may be others': it is lost instead.
   *
   * @param unread reports at the least
   */
  #drop(ear: Ear, unread: number, error: unknown, nowMs: number): void {
    ear.lost += unread + (ear.log === undefined ? 0 : lostIn(ear.log));
    ear.log?.[Symbol.dispose]();
    ear.log = undefined;
    ear.openMs = nowMs + REOPEN_MS;
    const reason = error instanceof Error ? error.message : String(error);
    ear.refusal = `Cannot read what the rules report (${ear.namespace} namespace), and will try again: ${reason}`;
  }

  #take(namespace: NamespaceName, packet: LoggedPacket, nowMs: number): void {
    const sender = this.#senderOf(namespace, packet);
    // A warm network has nobody inside, and of one that is being cut off the last packets prove nothing.
    if (sender?.state !== 'ready') return;
    const subject = String(sender.slot);
    if (packet.prefix === 'spoofed') {
      const claim = claimIn(packet, sender, this.#parties);
      if (claim === undefined) return;
      const what = `${claim.over} ${partyKey(claim.of, claim.address)}`;
      const told = this.#spoofs.add(subject, what, { sender, claim }, nowMs);
      if (told !== undefined) this.#parts.emit(spoofedEvent(told));
    } else if (packet.prefix === 'denied' || packet.prefix === 'crowded') {
      const by = refuserOf(namespace, packet);
      const where = packet.destination === undefined ? by : `${by} ${formatIpv4(packet.destination)}`;
      const told = this.#refusals.add(subject, where, { sender, by, packet }, nowMs);
      if (told !== undefined) this.#parts.emit(deniedEvent(told));
    }
  }

  /** On the cables of sandboxes the link is certain; behind it, rules have seen to it that the address is. */
  #senderOf(namespace: NamespaceName, { inLink, source }: LoggedPacket): Lease | undefined {
    if (namespace === ROUTER && inLink !== undefined && inLink !== BRIDGE.index)
      return this.#parties.behindLink(inLink);
    const party = source === undefined ? undefined : this.#parties.at(source);
    return party?.kind === 'sandbox' ? party.lease : undefined;
  }

  #countLost(nowMs: number): void {
    // That a queue was full is seen at once, and how many it cost with the next report.
    const lost = this.#ears.reduce(
      (sum, ear) => sum + ear.lost + (ear.log === undefined ? 0 : lostIn(ear.log)),
      this.#spoofs.untold + this.#refusals.untold,
    );
    if (lost === this.#lost) return;
    this.#lost = lost;
    if (this.#lostMs === undefined || nowMs - this.#lostMs >= LOSS_SHOWN_MS) {
      const message = 'Reports of stopped packets came faster than they could be read: some are lost';
      this.#parts.emit({ type: 'reports.lost', message, data: { lost } });
    }
    this.#lostMs = nowMs;
  }
}

function lostIn({ statistics: { lost, overruns } }: PacketLog): number {
  return Math.max(lost, overruns);
}

function refuserOf(namespace: NamespaceName, { prefix, etherType, outLink }: LoggedPacket): Refusal['by'] {
  if (prefix === 'crowded') return 'limit';
  if (namespace === ROOT) return 'host';
  if (etherType === ETH_P_ARP) return 'bridge';
  return outLink === undefined ? 'router' : 'policy';
}
