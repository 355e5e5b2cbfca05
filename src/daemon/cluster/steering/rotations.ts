import type { MeshPeer } from '../../../mesh/peers.ts';
import { tunnelWay, type Way } from '../../../mesh/way.ts';
import { alike } from '../../../plan/same.ts';

type Keys = Pick<MeshPeer, 'keys'>;

/** Which rotations of keys this host uses, and which of them the others were told of. */
export class Rotations {
  #used: ReadonlySet<number>;
  #told: readonly number[];

  /** @param used of the keys that the kernel has, and that others were told of */
  constructor(used: readonly number[]) {
    this.#used = new Set(used);
    this.#told = this.used;
  }

  /** the oldest first */
  get used(): readonly number[] {
    return [...this.#used].toSorted((one, other) => one - other);
  }

  /** those that the kernel has, and others were told of */
  get told(): readonly number[] {
    return this.#told;
  }

  get areTold(): boolean {
    return alike(this.used, this.#told);
  }

  /** Whether there is only one set of keys. */
  get isOne(): boolean {
    return this.#used.size < 2;
  }

  has(rotation: number): boolean {
    return this.#used.has(rotation);
  }

  /** Of three sets of keys the oldest goes: its device is the one that the newest takes. */
  begin(rotation: number): void {
    this.#used = new Set([...this.#used, rotation].filter((one) => one >= rotation - 1));
  }

  /** Nobody uses the others any more. */
  keepOnly(rotation: number): void {
    this.#used = new Set([...this.#used].filter((one) => one === rotation));
  }

  tell(rotations: readonly number[]): void {
    this.#told = rotations;
  }

  /** Whether this host and another both have what the way takes. */
  haveWay({ keys }: Keys, way: Way): boolean {
    if (way === 'clear') return true;
    return keys.some(({ rotation }) => tunnelWay(rotation) === way && this.#used.has(rotation));
  }

  /** The way of the latest keys that this host and another have in common, and of the current ones where both have those. */
  commonWay({ keys }: Keys, current: number): Way {
    const common = keys.map(({ rotation }) => rotation).filter((rotation) => this.#used.has(rotation));
    return tunnelWay(common.includes(current) ? current : Math.max(...common, 0));
  }
}
