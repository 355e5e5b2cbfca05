import type { Prober } from '../../../mesh/path/prober.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import type { Courses } from './courses.ts';
import { judge } from './judge.ts';
import type { KnownEpoch } from './known-epoch.ts';
import type { LinksSize } from './links-size.ts';
import type { Rotations } from './rotations.ts';
import { Settling } from './settling.ts';

export type JudgingParts = {
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly epoch: KnownEpoch;
  readonly courses: Courses;
  readonly rotations: Rotations;
  readonly links: LinksSize;
  readonly prober: Prober;
  readonly nowMs: () => number;
  /** Hears that time alone has made more of a host known, which was judged by it. */
  readonly judged: () => void;
};

/** Judges hosts when something of them may be otherwise: what comes of it is wanted, and asked by, from then on. */
export class Judging {
  readonly #parts: JudgingParts;
  readonly #settling: Settling;

  constructor(parts: JudgingParts) {
    this.#parts = parts;
    this.#settling = new Settling((name) => {
      this.#judge(name);
      parts.judged();
    });
  }

  /** @param names of hosts; one that is no peer is passed over */
  judge(names: Iterable<string>): void {
    for (const name of names) this.#judge(name);
  }

  judgeAll(): void {
    this.judge(this.#parts.peers().keys());
  }

  /** What is sent may be of another size now. */
  resize(): void {
    const { prober, links, epoch } = this.#parts;
    prober.resize(links.whole(epoch.record));
    this.judgeAll();
  }

  end(): void {
    this.#settling.end();
  }

  #judge(name: string): void {
    const { courses, rotations, links, prober } = this.#parts;
    const peer = this.#parts.peers().get(name);
    const paths = prober.pathsTo(name);
    if (peer === undefined || paths === undefined) return;
    const epoch = this.#parts.epoch.record;
    const nowMs = this.#parts.nowMs();
    const first = { sends: rotations.commonWay(peer, epoch.rotation), acceptsClear: false };
    const { course, legs } = judge(courses.latest(name) ?? first, {
      peer,
      paths,
      epoch,
      hasWay: (way) => rotations.haveWay(peer, way),
      whole: links.whole(epoch),
      unbounded: links.unbounded(epoch),
      nowMs,
    });
    courses.want(name, course);
    paths.use(legs);
    if (course.acceptsClear && epoch.phase === 'drop') this.#settling.wait(name, paths.unsettledMs(nowMs));
  }
}
