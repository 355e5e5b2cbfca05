import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Conductor } from '../../cluster/conductor.ts';
import { progressKey } from '../../cluster/keys.ts';
import { Liveness } from '../../cluster/liveness.ts';
import { type EpochRecord, PHASES, type Phase, type ProgressRecord, writeProgress } from '../../cluster/records.ts';
import type { Lease, Registry } from '../../cluster/registry.ts';
import { meshAddress } from '../../mesh/address.ts';
import { nextCourse, phaseReached, wayOf, waysInUse } from '../../mesh/course.ts';
import type { MeshOrders } from '../../mesh/host-mesh.ts';
import type { SteeredCourse } from '../../mesh/mesh.ts';
import { PATH_TIMING, type PathTiming } from '../../mesh/path/path.ts';
import type { PeerPaths } from '../../mesh/path/peer-paths.ts';
import { Prober } from '../../mesh/path/prober.ts';
import type { HostKey, MeshPeer } from '../../mesh/peers.ts';
import { linksMtu, routesMtu, sizeReached } from '../../mesh/size.ts';
import { type Leg, tunnelWay, type Way } from '../../mesh/way.ts';
import { alike } from '../../plan/same.ts';
import type { NewEvent, Problem } from '../../sandbox/event.ts';
import type { Steered } from '../engine.ts';
import type { ProbeSockets } from '../probes/sockets.ts';
import type { KeyRing } from './key-ring.ts';
import { clearLeg, clearLegs, legTaken } from './legs-taken.ts';

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
  readonly timing?: PathTiming;
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

/** Questions a second, of all hosts together, and while ways are changed. */
const PER_SECOND = 50;
/** How often it is looked whether anything is to be done that no event says. */
const LOOK_MS = 500;
/** How long another host may keep a phase back before it is asked whether it is alive, and how often it is asked then. */
const ALIVE_MS = 1000;
/** How often that is asked of a host that does not answer. */
const DEAD_ASKED_MS = 10_000;
/** How much less often both for each host that there is: all may ask. */
const ALIVE_PER_HOST_MS = 1;
const DEAD_ASKED_PER_HOST_MS = 40;
/** How long after a failure it is tried again. */
const RETRY_MS = 1000;
/** How long after one that starts was found not to be there it is looked again. */
const START_MS = 50;
/** How long a phase may take before a person is told whom it waits for. */
const PATIENCE_MS = 10_000;
/** Names that others are told of, of those that are waited for. */
const WAITS_SHOWN = 8;

/**
 * Steers what this host sends to each other one: finds out which ways carry packets, and how large, follows the epoch, and
 * takes its own part in each change of it, peer by peer and step by step (`mesh/course.ts`).
 */
export class Steering {
  readonly #parts: SteeringParts;
  readonly #prober: Prober;
  readonly #conductor: Conductor;
  readonly #liveness: Liveness;
  /** as the kernel has them */
  readonly #applied = new Map<string, SteeredCourse>();
  /** as they are to be, where that is otherwise */
  readonly #wanted = new Map<string, SteeredCourse>();
  readonly #rotations: Set<number>;
  /** until what they sent otherwise has arrived */
  readonly #settling = new Map<string, NodeJS.Timeout>();
  readonly #ended = new AbortController();
  #epoch: EpochRecord;
  #phaseMs: number;
  /** bytes, of all links as the kernel has them, once it is known that they have */
  #links: number;
  #isSized = false;
  #isStarted = false;
  #isSteering = false;
  /** The keys that the kernel has, and others were told of. */
  #told: string;
  #written: string | undefined;
  #isWriting = false;
  #probing: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #failure: string | undefined;

  /** @param epoch that it was in when it was last here */
  constructor(parts: SteeringParts, epoch: EpochRecord) {
    this.#parts = parts;
    this.#epoch = epoch;
    this.#phaseMs = parts.nowMs();
    this.#rotations = new Set(parts.rotations);
    this.#links = parts.links;
    this.#told = this.#rotationsText();
    const { registry, name, lease, nowMs } = parts;
    this.#liveness = new Liveness(registry, nowMs);
    this.#prober = new Prober({
      whole: this.#whole,
      timing: parts.timing ?? PATH_TIMING,
      perSecond: PER_SECOND,
      newNonce: () => randomBytes(8).readBigUInt64BE(),
      send: (leg, { address }, bytes) => this.#parts.sockets.send(leg, address, bytes),
      self: (other) => ({ epoch: this.#epoch.number, way: this.#applied.get(other)?.sends }),
      learned: (other) => {
        this.#judge(other);
        this.#probeSoon(0);
        void this.#steer();
      },
    });
    this.#conductor = new Conductor({ registry, name, lease, changed: (next) => this.#take(next) });
  }

  get epoch(): EpochRecord {
    return this.#epoch;
  }

  pathsTo(name: string): PeerPaths | undefined {
    return this.#prober.pathsTo(name);
  }

  courseTo(name: string): SteeredCourse | undefined {
    return this.#applied.get(name);
  }

  /** bytes, of all links: those that cannot be as large as is wished stay as they are */
  get #wantedLinks(): number {
    const wanted = linksMtu(this.#epoch);
    return wanted > this.#links && wanted > this.#parts.room() ? this.#links : wanted;
  }

  /** bytes, of the largest packet that is sent to other hosts */
  get #whole(): number {
    return Math.min(this.#links, routesMtu(this.#epoch));
  }

  /** Goes on from what the kernel has. @throws CulvertError of the engine */
  async start(): Promise<void> {
    for (const [name, course] of await this.#parts.courses()) this.#applied.set(name, course);
    await this.#parts.sockets.begin((leg, from, bytes) => this.#prober.hear(leg, from, bytes, this.#parts.nowMs()));
    this.#isStarted = true;
    this.peersChanged([...this.#parts.peers().keys()]);
    this.#look();
    void this.#follow();
  }

  /** What is known of these hosts is another than before. */
  peersChanged(names: readonly string[]): void {
    if (!this.#isStarted) return;
    for (const name of names) {
      const peer = this.#parts.peers().get(name);
      this.#prober.setPeer(name, peer && meshAddress(peer.subnet));
      if (peer === undefined) {
        this.#applied.delete(name);
        this.#wanted.delete(name);
      } else this.#judge(name);
    }
    void this.#steer();
    this.#probeSoon(0);
  }

  /** What was written under the lease that says that it is alive is to be written again. */
  leased(): void {
    this.#written = undefined;
    void this.#report();
  }

  problems(): Problem[] {
    const problems: Problem[] = [];
    const waitedMs = this.#parts.nowMs() - this.#phaseMs;
    if (this.#failure !== undefined) {
      problems.push({
        code: 'mesh_unsteered',
        message: `What is sent to other hosts cannot be changed: ${this.#failure}`,
      });
    }
    if (this.#epoch.phase !== 'done' && waitedMs >= PATIENCE_MS) {
      const waitsFor = this.#progress()?.waitsFor ?? [];
      const whom = waitsFor.length === 0 ? 'other hosts' : waitsFor.join(', ');
      const message = `The change to ${epochText(this.#epoch)} is in phase ${this.#epoch.phase} for ${Math.round(waitedMs / 1000)} s; this host waits for ${whom}`;
      problems.push({ code: 'mesh_changing', message });
    }
    return [...problems, ...this.#tooLarge(), ...this.#unreachable()];
  }

  #tooLarge(): Problem[] {
    const room = this.#parts.room();
    const { mtu } = this.#epoch;
    if (room >= mtu) return [];
    const what =
      this.#links < mtu
        ? `This host cannot take packets of ${mtu} bytes as the cluster is to, and keeps the change from going on`
        : `Packets of ${mtu} bytes, as the cluster’s hosts have agreed, do not fit any more, and each path’s size has to be found out`;
    const message = `${what}: its uplink takes ${room}; raise the uplink’s MTU by ${mtu - room}, or lower the cluster’s: culvert mesh mtu ${room}`;
    return [{ code: 'uplink_mtu', message }];
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    clearTimeout(this.#probing);
    clearTimeout(this.#looking);
    for (const timer of this.#settling.values()) clearTimeout(timer);
    await this.#parts.sockets.close();
  }

  #unreachable(): Problem[] {
    const names = [...this.#applied].filter(
      ([name]) => this.#liveness.isAlive(name) === true && this.#answersNothing(name),
    );
    return names.slice(0, WAITS_SHOWN).map(([name, { sends }]) => ({
      code: 'peer_unreachable',
      message: `Host ${name} is alive and does not answer ${sends === 'clear' ? 'in clear' : 'by WireGuard'}; look at the network between the two`,
    }));
  }

  /** Whether nothing has come back for long of what was asked by the way that it is sent to. */
  #answersNothing(name: string): boolean {
    const peer = this.#parts.peers().get(name);
    const course = this.#applied.get(name);
    if (peer === undefined || course === undefined) return false;
    return this.#prober.pathsTo(name)?.isDead(legTaken(peer, course), this.#parts.nowMs()) === true;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#conductor.run(signal);
      } catch (error) {
        this.#fail(error);
      }
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await new Promise((resolve) => void setTimeout(resolve, RETRY_MS).unref());
    }
  }

  #take(epoch: EpochRecord): void {
    const former = this.#epoch;
    if (alike(epoch, former)) return;
    this.#epoch = epoch;
    this.#phaseMs = this.#parts.nowMs();
    // a proof of before was of hosts that knew of nothing
    if (epoch.number !== former.number) this.#prober.forgetProofs();
    if (epoch.rotation !== former.rotation || !this.#rotations.has(epoch.rotation)) this.#rotate();
    if (epoch.number > 0) {
      this.#parts.emit({ type: 'mesh.epoch', message: `${epochText(epoch)}: phase ${epoch.phase}` });
    }
    this.#remember();
    this.#resize();
    if (epoch.phase === 'send') {
      // by now all listen, and before nobody may have
      for (const name of this.#parts.peers().keys()) this.#prober.pathsTo(name)?.listened(wayOf(epoch), this.#phaseMs);
    }
    void this.#steer();
    this.#probeSoon(0);
  }

  /** What is sent may be of another size now. */
  #resize(): void {
    this.#prober.resize(this.#whole);
    for (const name of this.#parts.peers().keys()) this.#judge(name);
  }

  /** Of three sets of keys the oldest goes: its device is the one that the newest takes. */
  #rotate(): void {
    this.#rotations.add(this.#epoch.rotation);
    for (const rotation of this.#rotations) if (rotation < this.#epoch.rotation - 1) this.#rotations.delete(rotation);
  }

  /** What is to become of one host, by all that is known. */
  #judge(name: string): void {
    const peer = this.#parts.peers().get(name);
    const paths = this.#prober.pathsTo(name);
    if (peer === undefined || paths === undefined) return;
    const nowMs = this.#parts.nowMs();
    const before = this.#wanted.get(name) ?? this.#applied.get(name) ?? this.#first(peer);
    const inClear = clearLeg(peer, before, paths, nowMs);
    const legOf = (way: Way): Leg => (way === 'clear' ? inClear : way);
    const next = nextCourse(before, this.#epoch, {
      heard: paths.heard,
      isSettled: paths.unsettledMs(nowMs) === 0,
      isProved: (way) => this.#hasWay(peer, way) && paths.isProved(legOf(way), nowMs),
      isDead: (way) => paths.isDead(legOf(way), nowMs),
    });
    const size = Math.min(paths.pathBy(legOf(next.sends))?.size ?? before.mtu ?? this.#whole, this.#whole);
    // links that are raised take their routes along, and nobody else takes as much yet
    const mtu = size >= Math.max(this.#links, this.#wantedLinks) ? {} : { mtu: size };
    const wraps = next.sends === 'clear' && peer.isOnLink && inClear === 'wrapped' ? ({ wraps: true } as const) : {};
    const course = { ...next, ...mtu, ...wraps };
    if (alike(course, this.#applied.get(name))) this.#wanted.delete(name);
    else this.#wanted.set(name, course);
    const ways = [...waysInUse(course, this.#epoch, paths.heard)].filter((way) => this.#hasWay(peer, way));
    paths.use(new Set(ways.flatMap((way) => (way === 'clear' ? clearLegs(peer, inClear, paths, nowMs) : way))));
    if (course.acceptsClear && this.#epoch.phase === 'drop') this.#judgeLater(name, paths.unsettledMs(nowMs));
  }

  /** Where there is nothing to hear that would have it judged again. */
  #judgeLater(name: string, ms: number): void {
    if (ms === 0 || this.#settling.has(name)) return;
    const timer = setTimeout(() => {
      this.#settling.delete(name);
      this.#judge(name);
      void this.#steer();
    }, ms);
    this.#settling.set(name, timer);
  }

  /** By the latest keys that the two have in common. */
  #first({ keys }: MeshPeer): SteeredCourse {
    const common = keys.map(({ rotation }) => rotation).filter((rotation) => this.#rotations.has(rotation));
    const rotation = common.includes(this.#epoch.rotation) ? this.#epoch.rotation : Math.max(...common, 0);
    return { sends: tunnelWay(rotation), acceptsClear: false };
  }

  #hasWay({ keys }: MeshPeer, way: Way): boolean {
    if (way === 'clear') return true;
    return keys.some(({ rotation }) => tunnelWay(rotation) === way && this.#rotations.has(rotation));
  }

  /** Has the kernel do what is wanted; what comes meanwhile goes together. */
  async #steer(): Promise<void> {
    if (this.#isSteering || !this.#isStarted) return;
    this.#isSteering = true;
    try {
      while (!this.#ended.signal.aborted && !(this.#isSteered && this.#hasSize)) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        if (!(await this.#steerOnce())) {
          // oxlint-disable-next-line no-await-in-loop -- likewise
          await pause(START_MS);
        }
      }
      this.#failure = undefined;
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#isSteering = false;
    }
    void this.#report();
  }

  /** Whether the kernel has what is wanted, and others were told which keys it has. */
  get #isSteered(): boolean {
    return this.#wanted.size === 0 && this.#rotationsText() === this.#told;
  }

  /** Whether the links are known to be as large as is wanted. */
  get #hasSize(): boolean {
    return this.#isSized && this.#wantedLinks === this.#links;
  }

  /** @returns false where a device has yet to start, or links are not as they are to be */
  async #steerOnce(): Promise<boolean> {
    const { keys, steer, publish } = this.#parts;
    const rotations = [...this.#rotations].toSorted((one, other) => one - other);
    const text = this.#rotationsText();
    const courses = [...this.#wanted];
    const links = this.#wantedLinks;
    const published = rotations.map((rotation) => keys.key(rotation));
    const tunnels = rotations.map((rotation) => keys.tunnel(rotation));
    const { isSteered, isSized } = await steer({ courses, tunnels, mtu: links });
    if (!isSteered) return false;
    for (const [name, course] of courses) {
      if (!this.#parts.peers().has(name)) continue;
      this.#tellWrapped(name, course);
      // who waits for it to send otherwise is to hear of it
      if (this.#applied.get(name)?.sends !== course.sends) this.#prober.pathsTo(name)?.hurry();
      this.#applied.set(name, course);
      if (this.#wanted.get(name) === course) this.#wanted.delete(name);
    }
    if (isSized) this.#sized(links);
    if (text !== this.#told) {
      this.#told = text;
      await publish(published);
      this.#remember();
      keys.forgetBefore(Math.min(...rotations));
    }
    this.#probeSoon(0);
    // what is done is told though links are not as large as they are to be
    if (!isSized) void this.#report();
    return isSized;
  }

  #sized(links: number): void {
    this.#isSized = true;
    if (links === this.#links) return;
    this.#links = links;
    this.#resize();
  }

  #tellWrapped(name: string, { sends, wraps }: SteeredCourse): void {
    if (sends !== 'clear' || wraps === this.#applied.get(name)?.wraps) return;
    const message = wraps
      ? `What goes in clear to host ${name} is wrapped: as it is nothing comes back, though its address is one of this link; see whether both uplinks have one prefix length, and whether the network lets sandboxes’ addresses pass`
      : `What goes in clear to host ${name} goes as it is again`;
    this.#parts.emit({ type: wraps ? 'mesh.wrapped' : 'mesh.unwrapped', message });
  }

  /** What no event says: ways that have died, keys that nobody uses any more, and what failed before. */
  #look(): void {
    if (this.#ended.signal.aborted) return;
    for (const name of this.#parts.peers().keys()) this.#judge(name);
    this.#dropOldKeys();
    void this.#steer();
    this.#askWhoIsAlive().catch((error: unknown) => this.#fail(error));
    this.#looking = setTimeout(() => this.#look(), LOOK_MS);
  }

  /** Who is lost is not waited for, and who is alive and does not answer is somebody's to look after. */
  async #askWhoIsAlive(): Promise<void> {
    const { phase } = this.#epoch;
    const peers = this.#parts.peers();
    const isLate = phase !== 'done' && this.#parts.nowMs() - this.#phaseMs >= ALIVE_MS;
    const wanted = new Map<string, number>();
    for (const name of peers.keys()) {
      if (this.#answersNothing(name)) wanted.set(name, DEAD_ASKED_MS + DEAD_ASKED_PER_HOST_MS * peers.size);
      // who is known to be lost is not waited for again with the next phase
      const isAsked = isLate || (phase !== 'done' && this.#liveness.isAlive(name) === false);
      const holdsBack = isAsked && PHASES.indexOf(this.#reachedWith(name)) < PHASES.indexOf(phase);
      if (holdsBack) wanted.set(name, ALIVE_MS + ALIVE_PER_HOST_MS * peers.size);
    }
    if (await this.#liveness.ask(wanted)) void this.#report();
  }

  /** Names of the hosts that the keys of before are kept for. */
  get usesOldKeys(): string[] {
    const { rotation } = this.#epoch;
    if (this.#rotations.size < 2) return [];
    const old = tunnelWay(rotation + 1);
    const nowMs = this.#parts.nowMs();
    const users = [...this.#parts.peers()].filter(([name, peer]) => {
      const paths = this.#prober.pathsTo(name);
      const heard = paths?.heard;
      const hasNew = peer.keys.some((key) => key.rotation === rotation);
      const isHeard = heard !== undefined && heard.way !== old && paths?.unsettledMs(nowMs) === 0;
      return this.#applied.get(name)?.sends === old || !hasNew || !isHeard;
    });
    return users.map(([name]) => name);
  }

  #dropOldKeys(): void {
    const { rotation, phase } = this.#epoch;
    if (phase !== 'done' || this.#rotations.size < 2 || this.usesOldKeys.length > 0) return;
    for (const one of this.#rotations) if (one !== rotation) this.#rotations.delete(one);
  }

  /** How far it has come, and what it waits for; undefined where not even its first phase is behind it. */
  #progress(): ProgressRecord | undefined {
    const size = this.#sizeReached();
    if (size === undefined) return undefined;
    const { number } = this.#epoch;
    const others = [...this.#parts.peers().keys()].filter((name) => this.#liveness.isAlive(name) !== false);
    const reached = others.map((name) => [name, this.#reachedWith(name)] as const);
    const last = PHASES.indexOf('drop');
    const least = reached.reduce((order, [, phase]) => Math.min(order, PHASES.indexOf(phase)), last);
    const waitsFor = reached.filter(([, phase]) => PHASES.indexOf(phase) === least).map(([name]) => name);
    const own = Math.min(least, PHASES.indexOf(size));
    return {
      number,
      reached: PHASES[own] ?? 'accept',
      waitsFor: least === last ? [] : waitsFor.slice(0, WAITS_SHOWN),
    };
  }

  /** After a start links may be of another size than they are to be, which keeps back what is about sizes alone. */
  #sizeReached(): Phase | undefined {
    const { mtu, formerMtu } = this.#epoch;
    if (!this.#isSized) return mtu === formerMtu ? 'drop' : undefined;
    return sizeReached(this.#epoch, this.#links, this.#sent);
  }

  /** How far it has come with one host. */
  #reachedWith(name: string): Phase {
    const course = this.#applied.get(name);
    return course === undefined ? 'accept' : phaseReached(course, this.#epoch, this.#prober.pathsTo(name)?.heard);
  }

  /** bytes, of the largest packet that the routes to other hosts let pass */
  get #sent(): number {
    return Math.max(0, ...[...this.#applied.values()].map(({ mtu }) => mtu ?? this.#links));
  }

  /** Tells how far it has come, once what it would say is true of the kernel. */
  async #report(): Promise<void> {
    const { registry, name, lease } = this.#parts;
    const held = lease();
    const progress = this.#progress();
    if (this.#isWriting || !this.#isSteered || progress === undefined || held === undefined) return;
    const value = writeProgress(progress);
    if (value === this.#written) return;
    this.#isWriting = true;
    try {
      await registry.commit([], [{ key: progressKey(name), value, lease: held }]);
      this.#written = value;
    } catch {
      // the registry is away: how the host stands says so, and it is written with the next look
      return;
    } finally {
      this.#isWriting = false;
    }
    // it may have come farther meanwhile
    void this.#report();
  }

  #probeSoon(ms: number): void {
    if (this.#ended.signal.aborted || !this.#isStarted) return;
    clearTimeout(this.#probing);
    this.#probing = setTimeout(() => this.#probeSoon(this.#prober.step(this.#parts.nowMs())), ms);
  }

  #rotationsText(): string {
    return [...this.#rotations].toSorted((one, other) => one - other).join(' ');
  }

  #remember(): void {
    this.#parts.remember(this.#epoch, this.#told.split(' ').map(Number));
  }

  #fail(error: unknown): void {
    this.#failure = error instanceof Error ? error.message : String(error);
  }
}

/** `epoch 4, encrypted with the keys of rotation 1, packets of 1420 bytes` */
function epochText({ number, encrypts, rotation, mtu }: EpochRecord): string {
  const what = encrypts ? `encrypted with the keys of rotation ${rotation}` : 'in clear';
  return `epoch ${number}, ${what}, packets of ${mtu} bytes`;
}
