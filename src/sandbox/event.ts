import type { Generation, Lease, SandboxId, Slot } from '../ipam/lease.ts';

/** Something that happened. `sequence` grows by one each time and starts at 1 with the daemon. */
export type CulvertEvent = {
  readonly sequence: number;
  /** ms since the epoch */
  readonly wallMs: number;
  /** Stable and dotted, such as `sandbox.created`. */
  readonly type: string;
  readonly sandboxId?: SandboxId;
  readonly slot?: Slot;
  readonly generation?: Generation;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
};

/** What happened, before it has its number and its time. */
export type NewEvent = Omit<CulvertEvent, 'sequence' | 'wallMs'>;

/** What a person should act on. */
export type Problem = { readonly code: string; readonly message: string };

/** Whom an event is about; nothing where no lease is concerned. */
export function subjectOf(lease: Lease | undefined): Pick<NewEvent, 'slot' | 'generation' | 'sandboxId'> {
  if (lease === undefined) return {};
  const { slot, generation, sandboxId } = lease;
  return { slot, generation, ...(sandboxId === undefined ? {} : { sandboxId }) };
}

/** What an event says of many things of one kind: whoever wants all of them asks for them. */
const MOST_IN_BRIEF = 12;

export function inBrief(lines: readonly string[]): string {
  const left = lines.length - MOST_IN_BRIEF;
  return `${lines.slice(0, MOST_IN_BRIEF).join('; ')}${left > 0 ? `; and ${left} more` : ''}`;
}
