import { formatPrefix, type Prefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import { epochAsWritten, type WrittenEpoch } from './epoch.ts';
import { foundCluster } from './found.ts';
import { assertFits, assertMeant, assertName, type JoinRequest } from './join-request.ts';
import { aliveKey, EPOCH, hostKey } from './keys.ts';
import { type Leases, type Membership, ownWrites } from './membership.ts';
import { type ClusterRecord, type HostRecord, readHost, writeHost } from './records.ts';
import type { Condition, Entry, Registry, Revision } from './registry.ts';
import { assertSameSession } from './session.ts';
import { claimAgain, claimListed, claimsByChance, type SubnetClaim } from './subnet-claims.ts';

/** How often it begins anew because others wrote what it had read. */
const ATTEMPTS = 20;

/**
 * Makes a host part of a cluster, which the first one makes: it gets back the subnet that it had, or one that is free.
 * What is its own is written at once, or nothing of it.
 *
 * @throws CulvertError `cluster_foreign` where it belongs to another cluster, `cluster_absent` where its own is not there;
 *   `cluster_mismatch` where the cluster is another than it says; `mtu_too_small` where its packets are larger than the host
 *   takes; `host_name_in_use` where another machine of that name is there, `host_identity_in_use` where one with a copy of
 *   its state folder is; `subnet_lost` where it cannot have the subnet that it is bound to; `cluster_full`; `cluster_busy`;
 *   `registry_*`
 * @throws InputError `invalid_host_name`, `invalid_range`, `invalid_subnet_size`
 */
export async function join(registry: Registry, request: JoinRequest, leases: Leases): Promise<Membership> {
  assertName(request.name);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const cluster = await foundCluster(registry, request);
    // oxlint-disable-next-line no-await-in-loop -- likewise
    const epoch = await epochAsWritten(registry);
    // oxlint-disable-next-line no-await-in-loop -- likewise
    const membership = await new Joining({ registry, cluster, epoch, request, leases }).attempt();
    if (membership !== undefined) return membership;
  }
  const message = `Cannot join the cluster in ${registry.name}: others wrote what was read, ${ATTEMPTS} times in a row`;
  throw new CulvertError('cluster_busy', message);
}

type JoiningParts = {
  readonly registry: Registry;
  readonly cluster: ClusterRecord;
  /** how all send to each other now */
  readonly epoch: WrittenEpoch;
  readonly request: JoinRequest;
  readonly leases: Leases;
};

/** What the registry has of the host as it comes back. */
type Found = {
  readonly record: HostRecord;
  /** under which it has its subnet */
  readonly name: string;
  /** of what there is under the name of now */
  readonly revision: Revision;
  readonly value?: string;
};

/** One attempt; what it has read may have changed when it writes. */
class Joining {
  readonly #parts: JoiningParts;
  /** when somebody last said that the host is there */
  #aliveRevision: Revision = 0;
  /** what it leaves behind under its former name, and takes away as it writes */
  #left: readonly Condition[] = [];

  constructor(parts: JoiningParts) {
    this.#parts = parts;
  }

  /** undefined where others were faster */
  async attempt(): Promise<Membership | undefined> {
    const { registry, cluster, request } = this.#parts;
    const { name, identity, session, formerName = name } = request;
    assertMeant(cluster, request, registry.name);
    const { entry, alive } = await this.#read(name);
    this.#aliveRevision = alive?.revision ?? 0;
    if (entry === undefined) {
      const before = formerName === name ? undefined : await this.#underFormerName(formerName);
      if (before === undefined) return this.#begin(1, 0);
      return this.#comeBack({ record: before, name: formerName, revision: 0 });
    }
    const record = readHost(entry.key, entry.value);
    const { revision, value } = entry;
    if (record.identity === identity) {
      if (alive !== undefined) assertSameSession(name, session, alive);
      return this.#comeBack({ record, name, revision, value });
    }
    // one that gets another name does not become the heir of whoever had that
    if (alive !== undefined || formerName !== name) {
      const message = `Cannot join as ${name}: another machine of that name is there, with ${formatPrefix(record.subnet)}; end it, or take another name`;
      throw new CulvertError('host_name_in_use', message);
    }
    return this.#begin(record.generation + 1, revision);
  }

  async #read(name: string): Promise<{ readonly entry: Entry | undefined; readonly alive: Entry | undefined }> {
    const { registry } = this.#parts;
    const [entry, alive] = await Promise.all([registry.get(hostKey(name)), registry.get(aliveKey(name))]);
    return { entry, alive };
  }

  async #underFormerName(formerName: string): Promise<HostRecord | undefined> {
    const { identity, session } = this.#parts.request;
    const { entry, alive } = await this.#read(formerName);
    const record = entry === undefined ? undefined : readHost(entry.key, entry.value);
    if (entry === undefined || record?.identity !== identity) return undefined;
    if (alive !== undefined) assertSameSession(formerName, session, alive);
    this.#left = [
      { key: entry.key, revision: entry.revision },
      { key: aliveKey(formerName), revision: alive?.revision ?? 0 },
    ];
    return record;
  }

  /** With the subnet that it has, or where it has lost that, or wants one of another size, with another. */
  async #comeBack({ record, name, revision, value }: Found): Promise<Membership | undefined> {
    const { registry, cluster, request } = this.#parts;
    const { identity, bound, length = record.subnet.length } = request;
    const { generation, subnet } = record;
    const isMeant = bound === undefined || formatPrefix(bound) === formatPrefix(subnet);
    const claim = isMeant ? await claimAgain(registry, cluster, subnet, { host: name, identity }) : undefined;
    const wantsOther = length !== subnet.length && bound === undefined;
    if (claim === undefined || wantsOther) return this.#begin(generation + 1, revision);
    return this.#write(claim, generation, { revision, value });
  }

  /** With a subnet that it did not have. @param revision of what there is under its name */
  async #begin(generation: number, revision: Revision): Promise<Membership | undefined> {
    const { registry, cluster, epoch, request } = this.#parts;
    const { name, identity, length = cluster.unit, bound } = request;
    if (bound !== undefined) throw lost(name, bound);
    assertFits(epoch.record, request);
    for (const claim of claimsByChance(cluster, length, identity)) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const membership = await this.#write(claim, generation, { revision });
      if (membership !== undefined) return membership;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      if (((await registry.get(hostKey(name)))?.revision ?? 0) !== revision) return undefined;
    }
    return this.#write(await claimListed(registry, cluster, length, name), generation, { revision });
  }

  async #write(
    { subnet, conditions, gone }: SubnetClaim,
    generation: number,
    { revision, value }: { readonly revision: Revision; readonly value?: string | undefined },
  ): Promise<Membership | undefined> {
    const { registry, cluster, epoch, request, leases } = this.#parts;
    const { name, identity, version, published } = request;
    const host: HostRecord = { identity, generation, subnet, version, published };
    // all others would hear of what they know: of every host, where all come back after the power was away
    const isRecorded = value === writeHost(host);
    const own = ownWrites(cluster, request, host, leases);
    const told = own.filter(({ key }) => !isRecorded || key !== hostKey(name));
    const away = [...gone, ...this.#left.map(({ key }) => key)];
    const writes = [...told, ...[...new Set(away)].map((key) => ({ key, value: undefined }))];
    const unchanged = [
      { key: EPOCH, revision: epoch.revision },
      { key: hostKey(name), revision },
      { key: aliveKey(name), revision: this.#aliveRevision },
    ];
    const written = await registry.commit([...unchanged, ...this.#left, ...conditions], writes);
    if (written === undefined) return undefined;
    return { cluster, host, revision: isRecorded ? revision : written, epoch: epoch.record };
  }
}

function lost(name: string, bound: Prefix): CulvertError {
  const message = `Cannot join as ${name}: its sandboxes have addresses of ${formatPrefix(bound)}, which the cluster has given away or does not know; remove them, then start it again`;
  return new CulvertError('subnet_lost', message);
}
