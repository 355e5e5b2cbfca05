import { formatPrefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import { join } from './join.ts';
import type { JoinRequest } from './join-request.ts';
import { aliveKey, HOLDS, hostKey, subnetKey } from './keys.ts';
import { type Leases, type Membership, ownWrites } from './membership.ts';
import { type HostRecord, readClaim, readHost, writeHost } from './records.ts';
import type { Lease, Registry, Write } from './registry.ts';
import { assertSameSession } from './session.ts';
import { unitsIn } from './subnets.ts';

type Timing = {
  /** ms that a host is taken for alive after it was last heard of */
  readonly alive_ms: number;
  /** ms that its subnet stays its own after that: its sandboxes may live */
  readonly hold_ms: number;
};

/** Renewals that may fail before a lease ends. */
const RENEWALS = 3;
/** Of the hold, which is long: the lease has its last part besides, so that it holds from whenever the host was heard. */
const HOLD_RENEWALS = 10;

export type Standing =
  | { readonly kind: 'joined' }
  /** The registry does not answer; what the host has stays its own for as long as its hold. */
  | { readonly kind: 'away'; readonly sinceMs: number; readonly reason: string }
  /** Another machine has its name, or its place was taken away: it has no part in the cluster any more. */
  | { readonly kind: 'expelled'; readonly reason: string };

export type MemberParts = {
  readonly registry: Registry;
  readonly request: JoinRequest;
  readonly timing: Timing;
  /** of a clock that never goes back */
  readonly nowMs: () => number;
  /** Hears of each change of the standing. */
  readonly changed: (standing: Standing) => void;
  /** Hears that other leases have taken the place of those that were lost. */
  readonly leased: () => void;
};

/** A host's place in its cluster, kept for as long as it lives. */
export class Member {
  readonly #parts: MemberParts;
  #leases: Leases;
  #membership: Membership;
  #standing: Standing = { kind: 'joined' };
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> = Promise.resolve();
  /** when the hold was renewed */
  #heldMs: number;
  /** what is to be told, and was not yet */
  #unpublished: { readonly published: unknown } | undefined;

  private constructor(parts: MemberParts, leases: Leases, membership: Membership) {
    this.#parts = parts;
    this.#leases = leases;
    this.#membership = membership;
    this.#heldMs = parts.nowMs();
    this.#rest();
  }

  /** @throws CulvertError, InputError as {@link join} does */
  static async join(parts: MemberParts): Promise<Member> {
    const leases = await grantBoth(parts);
    try {
      return new Member(parts, leases, await join(parts.registry, parts.request, leases));
    } catch (error) {
      await revokeBoth(leases);
      throw error;
    }
  }

  get membership(): Membership {
    return this.#membership;
  }

  /** There for as long as its sandboxes may live; undefined where it has no part any more. */
  get hold(): Lease | undefined {
    return this.#standing.kind === 'expelled' ? undefined : this.#leases.hold;
  }

  /** There as long as it is; undefined where it has no part any more. */
  get alive(): Lease | undefined {
    return this.#standing.kind === 'expelled' ? undefined : this.#leases.alive;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Tells the others, now or when the registry is back; what was to be told before and was not is not told any more. */
  publish(published: unknown): Promise<void> {
    this.#unpublished = { published };
    return this.#renew();
  }

  /** Is told how the registry shows this host: it may have been taken out. */
  see(record: HostRecord | undefined): void {
    const { identity, name } = this.#parts.request;
    if (record?.identity !== identity) this.#fail(expelled(name, record));
  }

  /**
   * Ends its part for now; it comes back to the subnet that it has.
   *
   * @param keepsSubnet for as long as it takes, since sandboxes live on without a daemon; else for the hold
   * @throws CulvertError `registry_*`
   */
  async stop({ keepsSubnet }: { readonly keepsSubnet: boolean }): Promise<void> {
    await this.#end();
    if (this.#standing.kind === 'expelled') return;
    if (keepsSubnet)
      await this.#commitOwn((writes) => writes.map(withoutLease).filter(({ key }) => key.startsWith(HOLDS)));
    await this.#leases.alive.revoke();
  }

  /** Gives back all that it has; no sandbox may be left. @throws CulvertError `registry_*` */
  async resign(): Promise<void> {
    await this.#end();
    if (this.#standing.kind === 'expelled') return;
    await this.#commitOwn((writes) => writes.map(({ key }) => ({ key, value: undefined })));
    await Promise.all([this.#leases.alive.revoke(), this.#leases.hold.revoke()]);
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#renewing;
  }

  async #commitOwn(change: (writes: Write[]) => Write[]): Promise<void> {
    const { registry, request } = this.#parts;
    const { cluster, host, revision } = this.#membership;
    const writes = change(ownWrites(cluster, request, host, this.#leases));
    const claims = await Promise.all(unitsIn(cluster, host.subnet).map((unit) => registry.get(subnetKey(unit))));
    const isOurs = claims.every(
      (entry) => entry !== undefined && readClaim(entry.key, entry.value).identity === request.identity,
    );
    // where it is no more its own there is nothing to give back
    if (!isOurs) return;
    const conditions = claims.flatMap((entry) =>
      entry === undefined ? [] : { key: entry.key, revision: entry.revision },
    );
    await registry.commit([{ key: hostKey(request.name), revision }, ...conditions], writes);
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#renew(), this.#parts.timing.alive_ms / RENEWALS);
  }

  /** One after the other. */
  #renew(): Promise<void> {
    this.#renewing = this.#renewing.then(() => this.#renewOnce());
    return this.#renewing;
  }

  async #renewOnce(): Promise<void> {
    if (this.#timer === undefined || this.#standing.kind === 'expelled') return;
    try {
      await this.#keepAlive();
      await this.#tell();
      this.#stand({ kind: 'joined' });
    } catch (error) {
      this.#fail(error);
    }
    if (this.#timer !== undefined) this.#rest();
  }

  async #keepAlive(): Promise<void> {
    const { nowMs, timing } = this.#parts;
    const now = nowMs();
    const isHoldDue = now - this.#heldMs >= timing.hold_ms / HOLD_RENEWALS;
    try {
      await Promise.all([this.#leases.alive.keepAlive(), isHoldDue ? this.#leases.hold.keepAlive() : undefined]);
      if (isHoldDue) this.#heldMs = now;
    } catch (error) {
      if (!(error instanceof CulvertError && error.code === 'registry_lease_lost')) throw error;
      return this.#return();
    }
    const { registry, request } = this.#parts;
    const alive = await registry.get(aliveKey(request.name));
    // somebody has taken it away by hand: to the others the host would be lost for good
    if (alive === undefined) return this.#return();
    assertSameSession(request.name, request.session, alive);
  }

  /** It was not heard of for too long; where nobody has taken its place that place is taken again. */
  async #return(): Promise<void> {
    const { registry, request } = this.#parts;
    const { host, cluster } = this.#membership;
    const leases = await grantBoth(this.#parts);
    const published = this.#unpublished?.published ?? host.published;
    try {
      const again = { ...request, clusterId: cluster.id, bound: host.subnet, published };
      this.#membership = await join(registry, again, leases);
    } catch (error) {
      await revokeBoth(leases);
      throw error;
    }
    this.#leases = leases;
    this.#heldMs = this.#parts.nowMs();
    this.#unpublished = undefined;
    this.#parts.leased();
  }

  async #tell(): Promise<void> {
    for (let pending = this.#unpublished; pending !== undefined; pending = this.#unpublished) {
      const host = { ...this.#membership.host, published: pending.published };
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (await this.#write(host)) {
        if (this.#unpublished === pending) this.#unpublished = undefined;
      }
    }
  }

  /** Writes its record; false where somebody has changed it, which is read then. */
  async #write(host: HostRecord): Promise<boolean> {
    const { registry, request } = this.#parts;
    const key = hostKey(request.name);
    const { revision } = this.#membership;
    const written = await registry.commit([{ key, revision }], [{ key, value: writeHost(host) }]);
    if (written !== undefined) {
      this.#membership = { ...this.#membership, host, revision: written };
      return true;
    }
    const found = await registry.get(key);
    const record = found === undefined ? undefined : readHost(key, found.value);
    if (found === undefined || record?.identity !== request.identity) throw expelled(request.name, record);
    this.#membership = { ...this.#membership, host: record, revision: found.revision };
    return false;
  }

  #fail(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const code = error instanceof CulvertError ? error.code : '';
    if (EXPELS.has(code)) this.#stand({ kind: 'expelled', reason });
    else if (this.#standing.kind === 'away') this.#stand({ ...this.#standing, reason });
    else this.#stand({ kind: 'away', sinceMs: this.#parts.nowMs(), reason });
  }

  #stand(standing: Standing): void {
    if (this.#standing.kind === 'expelled') return;
    const isNew = standing.kind !== this.#standing.kind;
    this.#standing = standing;
    if (isNew) this.#parts.changed(standing);
  }
}

/** What ends a host's part for good. */
export const EXPELS = new Set([
  'expelled',
  'host_name_in_use',
  'host_identity_in_use',
  'subnet_lost',
  'cluster_mismatch',
]);

function expelled(name: string, record: HostRecord | undefined): CulvertError {
  const why =
    record === undefined
      ? 'it was removed from the registry'
      : `another machine has its name, with ${formatPrefix(record.subnet)} in generation ${record.generation}`;
  return new CulvertError('expelled', `${name} has no part in the cluster any more: ${why}`);
}

function withoutLease({ key, value }: Write): Write {
  return { key, value: value ?? '' };
}

/** They would end by themselves; where that cannot be said now, they do. */
async function revokeBoth({ alive, hold }: Leases): Promise<void> {
  await Promise.all([alive, hold].map((lease) => lease.revoke().catch(() => undefined)));
}

async function grantBoth({ registry, timing }: MemberParts): Promise<Leases> {
  const [alive, hold] = await Promise.all([
    registry.grant(timing.alive_ms),
    registry.grant(timing.alive_ms + Math.ceil(timing.hold_ms * (1 + 1 / HOLD_RENEWALS))),
  ]);
  return { alive, hold };
}
