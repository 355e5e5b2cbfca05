import type { CulvertEvent, Status } from '../daemon/engine.ts';
import type { Lease } from '../ipam/lease.ts';

/** What happened, before it has its number and its time. */
export type NewEvent = Omit<CulvertEvent, 'sequence' | 'wallMs'>;

/** What a person should act on. */
export type Problem = Status['problems'][number];

/** Whom an event is about; nothing where no lease is concerned. */
export function subjectOf(lease: Lease | undefined): Pick<NewEvent, 'slot' | 'generation' | 'sandboxId'> {
  if (lease === undefined) return {};
  const { slot, generation, sandboxId } = lease;
  return { slot, generation, ...(sandboxId === undefined ? {} : { sandboxId }) };
}
