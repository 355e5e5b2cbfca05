import type { Slot } from '../ipam/lease.ts';
import type { Kernel } from '../linux/apply.ts';
import type { Crew } from '../sandbox/crew/crew.ts';
import type { NewEvent } from '../sandbox/event.ts';
import type { Holding } from '../sandbox/holding.ts';
import type { Manager } from '../sandbox/manager.ts';
import type { Survey } from '../sandbox/survey.ts';
import type { Layout } from '../sandbox/topology/layout.ts';
import type { Verification } from '../sandbox/verification.ts';

export type ResizingParts = {
  readonly layout: Pick<Layout, 'mtu'>;
  /** sandboxes and warm networks that are whole, by slot */
  readonly holdings: () => readonly Holding[];
  readonly kernel: Pick<Kernel, 'apply'>;
  readonly survey: Pick<Survey, 'hostPlan'>;
  readonly crew: Pick<Crew, 'resize'>;
  readonly manager: Pick<Manager, 'buildAnew'>;
  readonly verification: Pick<Verification, 'isDone' | 'failed' | 'forgetFailures' | 'lookAgain'>;
  readonly emit: (event: NewEvent) => void;
  readonly nowMs: () => number;
};

/** How long after networks could not be looked into they are again. */
const AGAIN_MS = 1000;

/** Gives all links of the host another size, a step at a time: those of what runs are looked into as after a start. */
export class Resizing {
  readonly #parts: ResizingParts;
  /** bytes, of links before; undefined where all are as they are to be */
  #formerMtu: number | undefined;
  #owesHost = false;
  #owesLook = false;
  /** those that could not be looked into are not before that */
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: ResizingParts) {
    this.#parts = parts;
  }

  get isUnderWay(): boolean {
    return this.#formerMtu !== undefined;
  }

  /**
   * Goes on with it. Whoever builds meanwhile builds with the new size.
   *
   * @param mtu bytes
   * @returns whether all links are known to have it: after a start not before what was adopted has been looked into
   * @throws CulvertError `apply_failed`; it is to be tried again
   */
  step(mtu: number): boolean {
    this.#begin(mtu);
    if (this.#owesHost) {
      this.#parts.kernel.apply(this.#parts.survey.hostPlan());
      this.#owesHost = false;
    }
    const { verification } = this.#parts;
    if (!verification.isDone) return false;
    if (this.#owesLook) {
      this.#look(() => true);
      this.#owesLook = false;
    } else this.#lookAtFailed();
    if (!verification.isDone || verification.failed.size > 0) return false;
    this.#end(mtu);
    return true;
  }

  #begin(mtu: number): void {
    const { layout, crew, manager } = this.#parts;
    if (mtu === layout.mtu) return;
    this.#formerMtu ??= layout.mtu;
    this.#owesHost = true;
    this.#owesLook = true;
    layout.mtu = mtu;
    crew.resize();
    manager.buildAnew();
  }

  #look(isWanted: (slot: Slot) => boolean): void {
    const { verification, holdings } = this.#parts;
    verification.forgetFailures();
    verification.lookAgain(holdings().filter(({ key }) => isWanted(key.slot)));
  }

  /** One that could not be looked into may have another size. */
  #lookAtFailed(): void {
    const { verification, nowMs } = this.#parts;
    if (verification.failed.size === 0 || nowMs() < this.#restsUntilMs) return;
    this.#restsUntilMs = nowMs() + AGAIN_MS;
    const failed = new Set(verification.failed.keys());
    this.#look((slot) => failed.has(slot));
  }

  #end(mtu: number): void {
    if (this.#formerMtu === undefined) return;
    const message = `All links take packets of ${mtu} bytes; before, ${this.#formerMtu}`;
    this.#formerMtu = undefined;
    this.#parts.emit({ type: 'host.resized', message });
  }
}
