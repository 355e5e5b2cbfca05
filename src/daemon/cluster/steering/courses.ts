import type { SteeredCourse } from '../../../mesh/mesh.ts';
import { alike } from '../../../plan/same.ts';

/** By which way each host is sent to: as the kernel has it, and as it is to be. */
export class Courses {
  readonly #applied = new Map<string, SteeredCourse>();
  /** where that is otherwise */
  readonly #wanted = new Map<string, SteeredCourse>();

  /** as the kernel has them, by name */
  get applied(): ReadonlyMap<string, SteeredCourse> {
    return this.#applied;
  }

  /** those that the kernel is to have instead */
  get wanted(): ReadonlyMap<string, SteeredCourse> {
    return this.#wanted;
  }

  /** The latest that is known of a host; undefined where it was never judged. */
  latest(name: string): SteeredCourse | undefined {
    return this.#wanted.get(name) ?? this.#applied.get(name);
  }

  want(name: string, course: SteeredCourse): void {
    if (alike(course, this.#applied.get(name))) this.#wanted.delete(name);
    else this.#wanted.set(name, course);
  }

  /** The kernel has it; another may be wanted since. */
  took(name: string, course: SteeredCourse): void {
    this.#applied.set(name, course);
    if (this.#wanted.get(name) === course) this.#wanted.delete(name);
  }

  forget(name: string): void {
    this.#applied.delete(name);
    this.#wanted.delete(name);
  }

  /** @param links bytes, of what has no size of its own. @returns bytes, of the largest packet that a route lets pass */
  largest(links: number): number {
    return Math.max(0, ...[...this.#applied.values()].map(({ mtu }) => mtu ?? links));
  }
}
