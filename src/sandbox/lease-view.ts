import type { Lease } from '../ipam/lease.ts';
import type { LeaseView } from './request.ts';

/** @param nowMs of the clock that quarantine is timed by */
export function leaseView(lease: Lease, nowMs: number): LeaseView {
  const { slot, generation, state, sandboxId, topology, sinceWallMs, quarantine } = lease;
  return {
    slot,
    generation,
    state,
    ...(sandboxId === undefined ? {} : { sandboxId }),
    topology,
    sinceWallMs,
    ...(quarantine === undefined
      ? {}
      : {
          quarantine: {
            reason: quarantine.reason,
            dueInMs: Math.max(0, Math.ceil(quarantine.dueMonotonicMs - nowMs)),
            flushVerified: quarantine.flushVerified,
          },
        }),
  };
}
