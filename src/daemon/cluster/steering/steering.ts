import type { EpochRecord, ProgressRecord } from '../../../cluster/records.ts';
import type { Lease, Registry } from '../../../cluster/registry.ts';
import { meshAddress } from '../../../mesh/address.ts';
import { wayOf } from '../../../mesh/course.ts';
import type { MeshOrders } from '../../../mesh/host-mesh.ts';
import type { SteeredCourse } from '../../../mesh/mesh.ts';
import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { HostKey, MeshPeer } from '../../../mesh/peers.ts';
import { alike } from '../../../plan/same.ts';
import type { NewEvent, Problem } from '../../../sandbox/event.ts';
import type { Steered } from '../../engine.ts';
import type { ProbeSockets } from '../../probes/sockets.ts';
import type { KeyRing } from '../key-ring.ts';
import { Applying } from './applying.ts';
import { Courses } from './courses.ts';
import { EpochFollowing } from './epoch-following.ts';
import { Judging } from './judging.ts';
import { KnownEpoch } from './known-epoch.ts';
import { LinksSize } from './links-size.ts';
import { OldKeys } from './old-keys.ts';
import { Probing } from './probing.ts';
import { Progress } from './progress.ts';
import { ProgressReport } from './progress-report.ts';
import { Reachability } from './reachability.ts';
import { Rotations } from './rotations.ts';
import { wrapNews } from './wrap-news.ts';

export type SteeringParts = {
  readonly registry: Registry;
  /** of this host */
  readonly name: string;
  /** that says that it is alive; undefined where the host is not in the cluster now */
  readonly lease: () => Lease | undefined;
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly sockets: ProbeSockets;
  readonly keys: KeyRing;
  /** of the keys that it has when it starts */
  readonly rotations: readonly number[];
  /** bytes, of all links of this host as they are when it starts */
  readonly links: number;
  /** bytes, that its uplink can take of sandboxes' packets, now */
  readonly room: () => number;
  readonly steer: (orders: MeshOrders) => Promise<Steered>;
  /** By which way each host is sent to, as the kernel has it. */
  readonly courses: () => Promise<readonly (readonly [name: string, course: SteeredCourse])[]>;
  /** Tells the others which keys it has. */
  readonly publish: (keys: readonly HostKey[]) => Promise<void>;
  /** Is told what is to be known after a start with the registry away. */
  readonly remember: (epoch: EpochRecord, rotations: readonly number[]) => void;
  readonly emit: (event: NewEvent) => void;
  readonly nowMs: () => number;
};

/** How often it is looked whether anything is to be done that no event says. */
const LOOK_MS = 500;

/**
 * Steers what this host sends to each other one: finds out which ways carry packets, and how large, follows the epoch, and
 * takes its own part in each change of it, peer by peer and step by step (`mesh/course.ts`).
 */
export class Steering {
  readonly #parts: SteeringParts;
  readonly #epoch: KnownEpoch;
  readonly #courses = new Courses();
  readonly #rotations: Rotations;
  readonly #oldKeys: OldKeys;
  readonly #probing: Probing;
  readonly #judging: Judging;
  readonly #reachability: Reachability;
  readonly #links: LinksSize;
  readonly #applying: Applying;
  readonly #progress: Progress;
  readonly #report: ProgressReport;
  readonly #ended = new AbortController();
  #isStarted = false;
  #looking: NodeJS.Timeout | undefined;
  #failure: string | undefined;
  /** why it does not hear how hosts are to send to each other */
  #deafness: string | undefined;

  /** @param record of the epoch that it was in when it was last here */
  constructor(parts: SteeringParts, record: EpochRecord) {
    this.#parts = parts;
    const { registry, name, lease, peers, sockets, nowMs, keys, steer, publish } = parts;
    const epoch = new KnownEpoch(record, nowMs());
    const courses = this.#courses;
    const rotations = new Rotations(parts.rotations);
    const links = new LinksSize(parts.links, parts.room);
    this.#probing = new Probing({
      sockets,
      nowMs,
      whole: links.whole(record),
      self: (other) => ({ epoch: this.epoch.number, way: courses.applied.get(other)?.sends }),
      learned: (other) => this.#learned(other),
    });
    const { prober } = this.#probing;
    const known = { peers, epoch, courses, rotations, links, nowMs, pathsTo: (other: string) => prober.pathsTo(other) };
    this.#oldKeys = new OldKeys(known);
    this.#judging = new Judging({ ...known, prober, judged: () => void this.#steer() });
    this.#reachability = new Reachability({ ...known, registry });
    this.#applying = new Applying({
      ...known,
      keys,
      steer,
      publish,
      took: (other, course) => this.#took(other, course),
      resized: () => this.#judging.resize(),
      told: () => this.#remember(),
      stepped: (isSized) => this.#stepped(isSized),
    });
    this.#progress = new Progress({ ...known, isLost: (other) => this.#reachability.isLost(other) });
    const progress = (): ProgressRecord | undefined => (this.#applying.isSteered ? this.#progress.record : undefined);
    this.#report = new ProgressReport({ registry, name, lease, progress });
    this.#epoch = epoch;
    this.#rotations = rotations;
    this.#links = links;
  }

  get epoch(): EpochRecord {
    return this.#epoch.record;
  }

  pathsTo(name: string): PeerPaths | undefined {
    return this.#probing.prober.pathsTo(name);
  }

  courseTo(name: string): SteeredCourse | undefined {
    return this.#courses.applied.get(name);
  }

  /** Names of the hosts that the keys of before are kept for. */
  get usesOldKeys(): string[] {
    return this.#oldKeys.users;
  }

  /** Goes on from what the kernel has. @throws CulvertError of the engine */
  async start(): Promise<void> {
    for (const [name, course] of await this.#parts.courses()) this.#courses.took(name, course);
    await this.#probing.begin();
    this.#isStarted = true;
    this.peersChanged([...this.#parts.peers().keys()]);
    this.#look();
    const { registry, name, lease } = this.#parts;
    const changed = (next: EpochRecord): void => this.#take(next);
    const failed = (error: unknown): void => void (this.#deafness = reasonOf(error));
    void new EpochFollowing({ registry, name, lease, changed, failed }).run(this.#ended.signal);
  }

  /** What is known of these hosts is another than before. */
  peersChanged(names: readonly string[]): void {
    if (!this.#isStarted) return;
    for (const name of names) {
      const peer = this.#parts.peers().get(name);
      this.#probing.prober.setPeer(name, peer && meshAddress(peer.subnet));
      if (peer === undefined) this.#courses.forget(name);
    }
    this.#judging.judge(names);
    void this.#steer();
    this.#probing.hurry();
  }

  /** What was written under the lease that says that it is alive is to be written again. */
  leased(): void {
    this.#report.leased();
  }

  problems(): Problem[] {
    const failure = this.#failure;
    const message = `What is sent to other hosts cannot be changed: ${failure}`;
    const deafness = this.#deafness;
    const unread = `What is sent to other hosts stays as it is, since it is not known how it is to be: ${deafness}`;
    const waitsFor = this.#progress.record?.waitsFor ?? [];
    return [
      ...(failure === undefined ? [] : [{ code: 'mesh_unsteered', message }]),
      ...(deafness === undefined ? [] : [{ code: 'mesh_unread', message: unread }]),
      ...this.#epoch.problems(this.#parts.nowMs(), waitsFor),
      ...this.#links.problems(this.epoch),
      ...this.#reachability.problems(),
    ];
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    clearTimeout(this.#looking);
    this.#judging.end();
    await this.#probing.end();
  }

  #take(epoch: EpochRecord): void {
    this.#deafness = undefined;
    const former = this.epoch;
    if (alike(epoch, former)) return;
    const nowMs = this.#parts.nowMs();
    this.#epoch.take(epoch, nowMs);
    // a proof of before was of hosts that knew of nothing
    if (epoch.number !== former.number) this.#probing.prober.forgetProofs();
    const isKnown = epoch.rotation === former.rotation && this.#rotations.has(epoch.rotation);
    if (!isKnown) this.#rotations.begin(epoch.rotation);
    if (epoch.number > 0) {
      this.#parts.emit({ type: 'mesh.epoch', message: `${this.#epoch.text}: phase ${epoch.phase}` });
    }
    this.#remember();
    this.#judging.resize();
    if (epoch.phase === 'send') {
      // by now all listen, and before nobody may have
      for (const name of this.#parts.peers().keys()) this.pathsTo(name)?.listened(wayOf(epoch), nowMs);
    }
    void this.#steer();
    this.#probing.hurry();
  }

  #learned(name: string): void {
    this.#judging.judge([name]);
    void this.#steer();
    this.#probing.hurry();
  }

  /** Has the kernel do what is wanted. */
  async #steer(): Promise<void> {
    if (!this.#isStarted || this.#applying.isRunning) return;
    try {
      await this.#applying.run(this.#ended.signal);
      this.#failure = undefined;
    } catch (error) {
      this.#fail(error);
    }
    void this.#report.write();
  }

  #took(name: string, course: SteeredCourse): void {
    const former = this.courseTo(name);
    const news = wrapNews(name, former, course);
    if (news !== undefined) this.#parts.emit(news);
    // who waits for it to send otherwise is to hear of it
    if (former?.sends !== course.sends) this.pathsTo(name)?.hurry();
  }

  #stepped(isSized: boolean): void {
    this.#probing.hurry();
    // what is done is told though links are not as large as they are to be
    if (!isSized) void this.#report.write();
  }

  /** What no event says: ways that have died, keys that nobody uses any more, and what failed before. */
  #look(): void {
    if (this.#ended.signal.aborted) return;
    this.#judging.judgeAll();
    this.#oldKeys.drop();
    void this.#steer();
    this.#askWhoIsAlive().catch((error: unknown) => this.#fail(error));
    this.#looking = setTimeout(() => this.#look(), LOOK_MS);
  }

  async #askWhoIsAlive(): Promise<void> {
    const isOther = await this.#reachability.ask((name) => this.#progress.waitsFor(name));
    if (isOther) void this.#report.write();
  }

  #remember(): void {
    this.#parts.remember(this.epoch, this.#rotations.told);
  }

  #fail(error: unknown): void {
    this.#failure = reasonOf(error);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
