import { setTimeout as pause } from 'node:timers/promises';
import { formatPrefix } from '../../addr/prefix.ts';
import type { Clock } from '../../clock.ts';
import type { JoinRequest } from '../../cluster/join-request.ts';
import { EXPELS, Member, type Standing } from '../../cluster/member.ts';
import type { EpochRecord, HostRecord } from '../../cluster/records.ts';
import type { Lease, Registry } from '../../cluster/registry.ts';
import { CulvertError } from '../../errors.ts';
import { type Published, writePublished } from '../../mesh/published.ts';
import { linksMtuAtStart } from '../../mesh/size.ts';
import type { Problem } from '../../sandbox/event.ts';
import type { Place } from './seat.ts';

/** How often a host that could not join tries again. */
const RETRY_MS = 2000;
/** ms that a host is taken for alive after it was last heard of */
const ALIVE_MS = 10_000;

type Absence = Exclude<Standing, { kind: 'joined' }>;

export type PresenceParts = {
  readonly registry: Registry;
  readonly request: Omit<JoinRequest, 'published' | 'mtu'>;
  /** what it tells the others of itself */
  readonly published: Published;
  readonly epoch: EpochRecord;
  readonly holdMs: number;
  readonly clock: Clock;
  readonly emit: (type: string, message: string) => void;
  /** Hears that it has leases anew. */
  readonly leased: () => void;
};

/**
 * That the host is in its cluster, and how it stands there. With the registry away it stands by what it remembers, and
 * joins when it can.
 */
export class Presence {
  readonly #parts: PresenceParts;
  readonly place: Place;
  #published: Published;
  #member: Member | undefined;
  /** how it stands where it is not in the cluster now */
  #absence: Absence | undefined;
  #joining: NodeJS.Timeout | undefined;
  #isOver = false;

  private constructor(parts: PresenceParts, place: Place) {
    this.#parts = parts;
    this.place = place;
    this.#published = parts.published;
  }

  /**
   * Joins, or comes back to the place that it had. One that has lost it is there without a part in the cluster, where
   * sandboxes have addresses of it: they run on, and can be removed.
   *
   * @throws CulvertError, InputError as `join` does; `registry_unavailable` only where it has had no place before
   */
  static async enter(parts: PresenceParts, former: Place | undefined): Promise<Presence> {
    let presence: Presence | undefined;
    try {
      const member = await joinInTime(parts, (standing) => {
        if (presence !== undefined) presence.#stand(standing);
      });
      presence = new Presence(parts, placeOf(parts, member, former));
      presence.#member = member;
    } catch (error) {
      const absence = absenceOf(error, parts, former);
      if (absence === undefined || former === undefined) throw error;
      presence = new Presence(parts, former);
      presence.#absence = absence;
    }
    return presence;
  }

  /** See {@link Member.hold}. */
  get hold(): Lease | undefined {
    return this.#member?.hold;
  }

  /** See {@link Member.alive}. */
  get alive(): Lease | undefined {
    return this.#member?.alive;
  }

  /** Tells the others something else of itself, now or when the registry is back. */
  async publish(part: Partial<Published>): Promise<void> {
    this.#published = { ...this.#published, ...part };
    await this.#member?.publish(writePublished(this.#published));
  }

  /** What the others are told of it, now or when the registry is back. */
  get published(): Published {
    return this.#published;
  }

  /** bytes, of all links of this host when it starts: as agreed when it joined, or as it remembers */
  get linksMtu(): number {
    return linksMtuAtStart(this.#member?.membership.epoch ?? this.place.epoch, this.#published.mtu);
  }

  /** Whether it has joined, whatever became of that. */
  get hasJoined(): boolean {
    return this.#member !== undefined;
  }

  get isExpelled(): boolean {
    return this.#standing.kind === 'expelled';
  }

  /** Begins to join where it has not. */
  begin(): void {
    if (this.#absence?.kind === 'expelled') this.#parts.emit('cluster.expelled', this.#absence.reason);
    if (this.#member === undefined) this.#joinLater();
  }

  /** Is told how the registry shows this host. */
  see(record: HostRecord | undefined): void {
    this.#member?.see(record);
  }

  /**
   * An address that may be another host's is given to nobody.
   *
   * @throws CulvertError `expelled`; `subnet_uncertain` where it was not heard of for as long as its subnet is held
   */
  assertMayCreate(): void {
    const standing = this.#standing;
    if (standing.kind === 'expelled') throw new CulvertError('expelled', standing.reason);
    const { clock, holdMs, registry } = this.#parts;
    if (standing.kind === 'joined' || clock.monotonicMs() - standing.sinceMs < holdMs) return;
    const message = `Cannot give out addresses of ${formatPrefix(this.place.subnet)}: the registry ${registry.name} was away for as long as they are held, so another host may have them; bring it back`;
    throw new CulvertError('subnet_uncertain', message);
  }

  /** What a person has to see to, where it is not as it should be. */
  get problem(): Problem | undefined {
    const { registry, clock } = this.#parts;
    const standing = this.#standing;
    if (standing.kind === 'joined') return undefined;
    if (standing.kind === 'expelled') return { code: 'expelled', message: standing.reason };
    const seconds = Math.round((clock.monotonicMs() - standing.sinceMs) / 1000);
    const still = 'what runs goes on, and no other host learns of changes';
    const message = `The registry ${registry.name} is away for ${seconds} s; ${still}: ${standing.reason}`;
    return { code: 'registry_away', message };
  }

  /** Joins no more. @param leave what to do with the place that it has */
  async end(leave: (member: Member) => Promise<void>): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#joining);
    if (this.#member !== undefined) await leave(this.#member);
  }

  get #standing(): Standing {
    return this.#member?.standing ?? this.#absence ?? { kind: 'joined' };
  }

  #joinLater(): void {
    this.#joining = setTimeout(() => void this.#joinAgain(), RETRY_MS);
  }

  async #joinAgain(): Promise<void> {
    const { clock, emit } = this.#parts;
    try {
      const { clusterId, subnet, name } = this.place;
      const request = { ...this.#parts.request, clusterId, bound: subnet };
      const parts = { ...this.#parts, request, published: this.#published };
      const { published } = parts;
      const member = await joinWith(parts, (standing) => this.#stand(standing));
      if (this.#isOver) return await member.stop({ keepsSubnet: true });
      this.#member = member;
      this.#absence = undefined;
      // it may have changed while it joined
      if (this.#published !== published) void member.publish(writePublished(this.#published));
      emit('cluster.joined', `Back in the cluster as ${name}`);
      this.#parts.leased();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const isFinal = error instanceof CulvertError && EXPELS.has(error.code);
      if (isFinal && this.#absence?.kind !== 'expelled') emit('cluster.expelled', reason);
      const sinceMs = this.#absence?.kind === 'away' ? this.#absence.sinceMs : clock.monotonicMs();
      this.#absence = isFinal ? { kind: 'expelled', reason } : { kind: 'away', sinceMs, reason };
      if (!this.#isOver) this.#joinLater();
    }
  }

  #stand(standing: Standing): void {
    const { emit } = this.#parts;
    if (standing.kind === 'joined') emit('cluster.joined', 'The registry is there again');
    else emit(`cluster.${standing.kind}`, standing.reason);
  }
}

/** How a host stands that could not join when it started; undefined where it is not to start. */
function absenceOf(error: unknown, { request, clock }: PresenceParts, former: Place | undefined): Absence | undefined {
  // what it remembers is of another name, which the others have heard of and nobody gives it now
  if (!(error instanceof CulvertError) || request.name !== former?.name) return undefined;
  const { code, message: reason } = error;
  if (code === 'registry_unavailable') return { kind: 'away', sinceMs: clock.monotonicMs(), reason };
  const isLost = code === 'subnet_lost' || code === 'host_name_in_use';
  return isLost && request.bound !== undefined ? { kind: 'expelled', reason } : undefined;
}

/** A machine that was booted anew may be there before its former life is taken for gone, which a copy of it never is. */
async function joinInTime(parts: PresenceParts, changed: (standing: Standing) => void): Promise<Member> {
  const { clock } = parts;
  const deadlineMs = clock.monotonicMs() + ALIVE_MS + RETRY_MS;
  for (;;) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      return await joinWith(parts, changed);
    } catch (error) {
      const isThere = error instanceof CulvertError && error.code === 'host_identity_in_use';
      if (!isThere || clock.monotonicMs() >= deadlineMs) throw error;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pause(RETRY_MS);
    }
  }
}

function joinWith(parts: PresenceParts, changed: (standing: Standing) => void): Promise<Member> {
  const { registry, holdMs, clock, leased } = parts;
  const { published } = parts;
  const request = { ...parts.request, mtu: published.mtu, published: writePublished(published) };
  const timing = { alive_ms: ALIVE_MS, hold_ms: holdMs };
  return Member.join({ registry, request, timing, nowMs: () => clock.monotonicMs(), changed, leased });
}

function placeOf(
  { request, epoch, published }: PresenceParts,
  { membership }: Member,
  former: Place | undefined,
): Place {
  const { cluster, host } = membership;
  const { id: clusterId, range, unit } = cluster;
  const rotations = published.keys.map(({ rotation }) => rotation);
  const own = { name: request.name, subnet: host.subnet, epoch, rotations };
  return { clusterId, range, unit, ...own, peers: former?.peers ?? [] };
}
