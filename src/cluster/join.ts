import { randomUUID } from 'node:crypto';
import { formatPrefix, type Prefix, parsePrefix, prefixesOverlap } from '../addr/prefix.ts';
import { CulvertError, InputError } from '../errors.ts';
import { epochAsWritten, firstEpoch, type WrittenEpoch } from './epoch.ts';
import { aliveKey, CLUSTER, EPOCH, HOLDS, holdKey, hostKey, indexIn, SUBNETS, subnetKey } from './keys.ts';
import {
  type ClusterRecord,
  type EpochRecord,
  type HostRecord,
  NAME,
  readClaim,
  readCluster,
  readHost,
  readSession,
  type Session,
  writeClaim,
  writeCluster,
  writeEpoch,
  writeHost,
  writeSession,
} from './records.ts';
import type { Condition, Entry, Lease, Registry, Revision, Write } from './registry.ts';
import { assertPlan, candidates, firstUnit, subnetAt, unitCount, unitsOf } from './subnets.ts';

/** Subnets that are tried by chance before all are listed: enough in a range that is three quarters full. */
const GUESSES = 16;
/** How often it begins anew because others wrote what it had read. */
const ATTEMPTS = 20;

const DEFAULT_RANGE = parsePrefix('10.64.0.0/10');
const DEFAULT_UNIT = 20;

export type JoinRequest = {
  /** of the host, unique in the cluster */
  readonly name: string;
  /** of its state folder, a UUID */
  readonly identity: string;
  /** of its daemon: another one of the same identity is another machine with a copy of the state folder */
  readonly session: Pick<Session, 'id' | 'place'>;
  readonly version: string;
  /** what the first host gives the cluster; others say the same, or nothing */
  readonly range?: Prefix;
  readonly unit?: number;
  /** prefix length of the subnet to claim; the cluster's unit where absent */
  readonly length?: number;
  /** the cluster that it was in before */
  readonly clusterId?: string;
  /** the name that it had there: what it has under that one goes with it */
  readonly formerName?: string;
  /** The subnet that sandboxes have addresses of: it is given this one, or none. */
  readonly bound?: Prefix;
  /** bytes of the IP packets of sandboxes that it can take from other hosts; the first host's are the cluster's */
  readonly mtu: number;
  readonly published: unknown;
};

type Founding = Pick<JoinRequest, 'range' | 'unit' | 'mtu'> & { readonly clusterId?: string | undefined };

/** They say how long a host is there, and how long its sandboxes may be. */
export type Leases = { readonly alive: Lease; readonly hold: Lease };

/** What a host has in a cluster. */
export type Membership = {
  readonly cluster: ClusterRecord;
  readonly host: HostRecord;
  /** of the host's record */
  readonly revision: Revision;
  /** how all send to each other, when it joined */
  readonly epoch: EpochRecord;
};

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
    const membership = await new Joining({ registry, request, leases, epoch }).attempt(cluster);
    if (membership !== undefined) return membership;
  }
  const message = `Cannot join the cluster in ${registry.name}: others wrote what was read, ${ATTEMPTS} times in a row`;
  throw new CulvertError('cluster_busy', message);
}

/**
 * What the cluster's hosts have in common, which the first of them writes.
 *
 * @throws CulvertError `cluster_absent`; `registry_*`; InputError `invalid_range`, `invalid_subnet_size`
 */
export async function foundCluster(registry: Registry, request: Founding): Promise<ClusterRecord> {
  const { range = DEFAULT_RANGE, unit = DEFAULT_UNIT, clusterId, mtu } = request;
  const entry = await registry.get(CLUSTER);
  if (entry !== undefined) return readCluster(entry.value);
  if (clusterId !== undefined) {
    const message = `Cannot join cluster ${clusterId} in ${registry.name}: there is none; put back what etcd had, or start with a state folder of its own`;
    throw new CulvertError('cluster_absent', message);
  }
  assertPlan({ range, unit });
  const cluster = { id: randomUUID(), range, unit };
  const writes = [
    { key: CLUSTER, value: writeCluster(cluster) },
    { key: EPOCH, value: writeEpoch(firstEpoch(mtu)) },
  ];
  const written = await registry.commit([{ key: CLUSTER, revision: 0 }], writes);
  // others were first
  return written === undefined ? foundCluster(registry, { ...request, clusterId: undefined }) : cluster;
}

function assertName(name: string): void {
  if (NAME.test(name)) return;
  const message = `Cannot join as ${JSON.stringify(name.slice(0, 64))}: want 1 to 63 of a-z, 0-9 and -, no - first or last`;
  throw new InputError('invalid_host_name', message, { field: 'host' });
}

/**
 * Where the host is taken for there, whether the daemon that says so is this one, or one that has ended: of the same run
 * folder, which this one holds now.
 */
export function assertSameSession(name: string, own: JoinRequest['session'], entry: Entry): void {
  const { id, place } = readSession(entry.key, entry.value);
  if (id === own.id || place === own.place) return;
  const message = `Cannot be ${name}: a daemon with a copy of this state folder is there, on another machine or with another run folder; end that one, or give this one a state folder of its own`;
  throw new CulvertError('host_identity_in_use', message);
}

type Claimed = {
  readonly host: string;
  readonly revision: Revision;
  /** what the registry has of the host under the name of now */
  readonly recorded?: string;
};

type JoiningParts = {
  readonly registry: Registry;
  readonly request: JoinRequest;
  readonly leases: Leases;
  readonly epoch: WrittenEpoch;
};

/** One attempt; what it has read may have changed when it writes. */
class Joining {
  readonly #registry: Registry;
  readonly #request: JoinRequest;
  readonly #leases: Leases;
  /** how all send to each other now */
  readonly #epoch: WrittenEpoch;
  /** when somebody last said that the host is there */
  #aliveRevision: Revision = 0;
  /** what it leaves behind under its former name, and takes away as it writes */
  #left: readonly Condition[] = [];

  constructor({ registry, request, leases, epoch }: JoiningParts) {
    this.#registry = registry;
    this.#request = request;
    this.#leases = leases;
    this.#epoch = epoch;
  }

  /** undefined where others were faster */
  async attempt(cluster: ClusterRecord): Promise<Membership | undefined> {
    const { name, identity, session, formerName = name } = this.#request;
    this.#assertSame(cluster);
    const { entry, alive } = await this.#read(name);
    this.#aliveRevision = alive?.revision ?? 0;
    if (entry === undefined) {
      const before = formerName === name ? undefined : await this.#underFormerName(formerName);
      if (before === undefined) return this.#claim(cluster, 1, 0);
      return this.#back(cluster, before, { host: formerName, revision: 0 });
    }
    const former = readHost(entry.key, entry.value);
    if (former.identity === identity) {
      if (alive !== undefined) assertSameSession(name, session, alive);
      return this.#back(cluster, former, { host: name, revision: entry.revision, recorded: entry.value });
    }
    // one that gets another name does not become the heir of whoever had that
    if (alive !== undefined || formerName !== name) {
      const message = `Cannot join as ${name}: another machine of that name is there, with ${formatPrefix(former.subnet)}; end it, or take another name`;
      throw new CulvertError('host_name_in_use', message);
    }
    return this.#claim(cluster, former.generation + 1, entry.revision);
  }

  async #read(name: string): Promise<{ readonly entry: Entry | undefined; readonly alive: Entry | undefined }> {
    const [entry, alive] = await Promise.all([this.#registry.get(hostKey(name)), this.#registry.get(aliveKey(name))]);
    return { entry, alive };
  }

  async #underFormerName(formerName: string): Promise<HostRecord | undefined> {
    const { identity, session } = this.#request;
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

  /** @param as the host that its subnet is claimed for, and the revision of its record under the name of now */
  async #back(cluster: ClusterRecord, former: HostRecord, as: Claimed): Promise<Membership | undefined> {
    const { bound } = this.#request;
    const back = await this.#comeBack(cluster, former, as);
    if (back !== 'lost') return back;
    if (bound !== undefined) throw this.#lost(bound);
    return this.#claim(cluster, former.generation + 1, as.revision);
  }

  /** Those who have agreed on packets that it cannot take would lose them; one that is among them is told so otherwise. */
  #assertFits({ phase, mtu, formerMtu }: EpochRecord): void {
    const { mtu: own, name } = this.#request;
    const agreed = phase === 'done' ? mtu : Math.max(mtu, formerMtu);
    if (own >= agreed) return;
    const change = phase === 'done' ? '' : ', until the change that is under way is done';
    const message = `Cannot join as ${name}: the cluster’s hosts have agreed on packets of ${agreed} bytes${change}, and this one takes ${own} (its uplink’s MTU less the room for a tunnel, or mtu of the config); raise that by ${agreed - own}, or lower the cluster’s on one of its hosts: culvert mesh mtu ${own}`;
    throw new CulvertError('mtu_too_small', message);
  }

  #assertSame(cluster: ClusterRecord): void {
    const { range, unit, clusterId } = this.#request;
    if (clusterId !== undefined && clusterId !== cluster.id) {
      throw this.#foreign(`there is cluster ${cluster.id}`, clusterId);
    }
    const { id, ...has } = cluster;
    const differs =
      (range !== undefined && formatPrefix(range) !== formatPrefix(has.range)) ||
      (unit !== undefined && unit !== has.unit);
    if (!differs) return;
    const said = `${formatPrefix(range ?? has.range)} in subnets of /${unit ?? has.unit}`;
    const message = `Cannot join cluster ${id} in ${this.#registry.name}: it has ${formatPrefix(has.range)} in subnets of /${has.unit}, and the config says ${said}`;
    throw new CulvertError('cluster_mismatch', message);
  }

  /** `lost` where its subnet is another's, or nobody's. */
  async #comeBack(
    cluster: ClusterRecord,
    former: HostRecord,
    { host, revision, recorded }: Claimed,
  ): Promise<Membership | 'lost' | undefined> {
    const { identity, length = former.subnet.length, bound } = this.#request;
    if (bound !== undefined && formatPrefix(bound) !== formatPrefix(former.subnet)) return 'lost';
    const units = unitsOf(cluster, former.subnet.length);
    const first = firstUnit(cluster, former.subnet);
    const wantsOther = length !== former.subnet.length && bound === undefined;
    const claims = await this.#unitEntries(first, units);
    const isOurs = claims.every((entry) => {
      if (entry === undefined) return false;
      const claim = readClaim(entry.key, entry.value);
      return claim.host === host && claim.identity === identity;
    });
    if (!isOurs || wantsOther) return 'lost';
    const conditions = claims.map((entry, index) => ({
      key: subnetKey(first + index),
      revision: entry?.revision ?? 0,
    }));
    const { generation, subnet } = former;
    return this.#write(cluster, { generation, subnet, revision, conditions, recorded });
  }

  async #claim(cluster: ClusterRecord, generation: number, revision: Revision): Promise<Membership | undefined> {
    const { length = cluster.unit, identity, bound } = this.#request;
    if (bound !== undefined) throw this.#lost(bound);
    this.#assertFits(this.#epoch.record);
    const units = unitsOf(cluster, length);
    for (const first of candidates(cluster, units, identity, GUESSES)) {
      const conditions = Array.from({ length: units }, (_, index) => ({ key: subnetKey(first + index), revision: 0 }));
      const subnet = subnetAt(cluster, first, units);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const membership = await this.#write(cluster, { generation, subnet, revision, conditions });
      if (membership !== undefined) return membership;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (((await this.#registry.get(hostKey(this.#request.name)))?.revision ?? 0) !== revision) return undefined;
    }
    return this.#claimListed(cluster, generation, revision, units);
  }

  /** Where chance finds none: the first that nobody has, or that was given up the longest ago. */
  async #claimListed(
    cluster: ClusterRecord,
    generation: number,
    revision: Revision,
    units: number,
  ): Promise<Membership | undefined> {
    const [subnets, holds] = await Promise.all([this.#registry.list(SUBNETS), this.#registry.list(HOLDS)]);
    const held = new Set(holds.entries.map(({ key }) => indexIn(key)));
    const taken = new Map(subnets.entries.map((entry) => [indexIn(entry.key), entry.revision]));
    const free = Array.from({ length: unitCount(cluster) / units }, (_, index) => index * units)
      .filter((first) => indexes(first, units).every((unit) => !held.has(unit)))
      .map((first) => ({ first, since: Math.max(...indexes(first, units).map((unit) => taken.get(unit) ?? 0)) }))
      .toSorted((one, other) => one.since - other.since)[0];
    if (free === undefined) {
      const message = `Cannot join cluster ${cluster.id}: all ${unitCount(cluster)} subnets of ${formatPrefix(cluster.range)} are held, ${taken.size} by hosts; remove hosts that are gone (culvert hosts remove), or wait until the hold of one is over`;
      throw new CulvertError('cluster_full', message);
    }
    const subnet = subnetAt(cluster, free.first, units);
    const claimed = indexes(free.first, units);
    const former = await this.#formerHosts(subnet, subnets.entries, claimed);
    const conditions = [
      ...claimed.flatMap((unit) => [
        { key: subnetKey(unit), revision: taken.get(unit) ?? 0 },
        { key: holdKey(unit), revision: 0 },
      ]),
      ...former.map(({ key, revision: read }) => ({ key, revision: read })),
    ];
    return this.#write(cluster, { generation, subnet, revision, conditions, gone: former.map(({ key }) => key) });
  }

  /** Records of hosts that had these units: with them two would have one subnet, to whoever reads. */
  async #formerHosts(subnet: Prefix, claims: readonly Entry[], units: readonly number[]): Promise<Entry[]> {
    const own = this.#request.name;
    const names = claims
      .filter(({ key }) => units.includes(indexIn(key)))
      .map(({ key, value }) => readClaim(key, value).host)
      .filter((name) => name !== own);
    const found = await Promise.all([...new Set(names)].map((name) => this.#registry.get(hostKey(name))));
    return found.filter((entry): entry is Entry => {
      // one that has joined again has another subnet
      return entry !== undefined && prefixesOverlap(readHost(entry.key, entry.value).subnet, subnet);
    });
  }

  async #write(
    cluster: ClusterRecord,
    what: {
      readonly generation: number;
      readonly subnet: Prefix;
      readonly revision: Revision;
      readonly conditions: readonly Condition[];
      /** what the registry has of the host */
      readonly recorded?: string | undefined;
      /** keys to delete */
      readonly gone?: readonly string[];
    },
  ): Promise<Membership | undefined> {
    const { name, identity, version, published } = this.#request;
    const { generation, subnet, revision, conditions, recorded, gone = [] } = what;
    const host: HostRecord = { identity, generation, subnet, version, published };
    // all others would hear of what they know: of every host, where all come back after the power was away
    const isRecorded = recorded === writeHost(host);
    const own = ownWrites(cluster, this.#request, host, this.#leases);
    const told = own.filter(({ key }) => !isRecorded || key !== hostKey(name));
    const away = [...gone, ...this.#left.map(({ key }) => key)];
    const writes = [...told, ...[...new Set(away)].map((key) => ({ key, value: undefined }))];
    const epoch = this.#epoch;
    const unchanged = [
      { key: EPOCH, revision: epoch.revision },
      { key: hostKey(name), revision },
      { key: aliveKey(name), revision: this.#aliveRevision },
    ];
    const written = await this.#registry.commit([...unchanged, ...this.#left, ...conditions], writes);
    if (written === undefined) return undefined;
    return { cluster, host, revision: isRecorded ? revision : written, epoch: epoch.record };
  }

  async #unitEntries(first: number, units: number): Promise<(Entry | undefined)[]> {
    return Promise.all(indexes(first, units).map((unit) => this.#registry.get(subnetKey(unit))));
  }

  #foreign(found: string, clusterId: string): CulvertError {
    const message = `Cannot join the cluster in ${this.#registry.name}: ${found}, and this host belongs to cluster ${clusterId}; give it the registry of that cluster, or a state folder of its own`;
    return new CulvertError('cluster_foreign', message);
  }

  #lost(bound: Prefix): CulvertError {
    const message = `Cannot join as ${this.#request.name}: its sandboxes have addresses of ${formatPrefix(bound)}, which the cluster has given away or does not know; remove them, then start it again`;
    return new CulvertError('subnet_lost', message);
  }
}

/** The units that a host has. */
export function ownUnits(cluster: ClusterRecord, { subnet }: HostRecord): number[] {
  return indexes(firstUnit(cluster, subnet), unitsOf(cluster, subnet.length));
}

/** All that stands in the registry for one host. */
export function ownWrites(
  cluster: ClusterRecord,
  { name, session }: Pick<JoinRequest, 'name' | 'session'>,
  host: HostRecord,
  { alive, hold }: Leases,
): Write[] {
  const { identity, generation } = host;
  const claim = writeClaim({ host: name, identity, generation });
  return [
    { key: hostKey(name), value: writeHost(host) },
    { key: aliveKey(name), value: writeSession({ generation, ...session }), lease: alive },
    ...ownUnits(cluster, host).flatMap((unit) => [
      { key: subnetKey(unit), value: claim },
      { key: holdKey(unit), value: name, lease: hold },
    ]),
  ];
}

function indexes(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
