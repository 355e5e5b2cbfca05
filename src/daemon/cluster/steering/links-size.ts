import type { Phase } from '../../../mesh/course.ts';
import { linksMtu, routesMtu, type Size, sizeReached } from '../../../mesh/size.ts';
import type { Problem } from '../../../sandbox/event.ts';

/** How large packets all links of this host take: as the kernel has them, and as they are to. Sizes are in bytes. */
export class LinksSize {
  readonly #room: () => number;
  #bytes: number;
  #isKnown = false;

  /**
   * @param bytes as it is taken to be until the kernel has said so
   * @param room that the uplink can take of sandboxes' packets, now
   */
  constructor(bytes: number, room: () => number) {
    this.#bytes = bytes;
    this.#room = room;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Those that cannot be as large as is wished stay as they are. */
  wanted(size: Size): number {
    const wanted = linksMtu(size);
    return wanted > this.#bytes && wanted > this.#room() ? this.#bytes : wanted;
  }

  isAsWanted(size: Size): boolean {
    return this.#isKnown && this.wanted(size) === this.#bytes;
  }

  /** Of the largest packet that is sent to other hosts. */
  whole(size: Size): number {
    return Math.min(this.#bytes, routesMtu(size));
  }

  /** From which on a route needs no size of its own: links that are raised take theirs along. */
  unbounded(size: Size): number {
    return Math.max(this.#bytes, this.wanted(size));
  }

  /** The kernel has this. @returns whether that is another size than before */
  took(bytes: number): boolean {
    const isOther = bytes !== this.#bytes;
    this.#isKnown = true;
    this.#bytes = bytes;
    return isOther;
  }

  /**
   * The phase that is behind this host; undefined for not even the first. After a start links may be of another size than
   * they are to be, which keeps back what is about sizes alone.
   *
   * @param sent the largest packet that the routes to other hosts let pass
   */
  reached(size: Size, sent: number): Phase | undefined {
    if (!this.#isKnown) return size.mtu === size.formerMtu ? 'drop' : undefined;
    return sizeReached(size, this.#bytes, sent);
  }

  problems({ mtu }: Size): Problem[] {
    const room = this.#room();
    if (room >= mtu) return [];
    const what =
      this.#bytes < mtu
        ? `This host cannot take packets of ${mtu} bytes as the cluster is to, and keeps the change from going on`
        : `Packets of ${mtu} bytes, as the cluster’s hosts have agreed, do not fit any more, and each path’s size has to be found out`;
    const message = `${what}: its uplink takes ${room}; raise the uplink’s MTU by ${mtu - room}, or lower the cluster’s: culvert mesh mtu ${room}`;
    return [{ code: 'uplink_mtu', message }];
  }
}
