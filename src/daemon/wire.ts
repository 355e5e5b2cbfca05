import type { NameSockets } from '../dns/responder.ts';
import type { OwnMember } from '../sandbox/groups.ts';
import type { WireError } from '../wire-error.ts';
import type { CulvertEvent } from './engine.ts';
import type { ProbeDescriptors } from './probes/legs.ts';

/** What of the core can be called from another thread. */
export type Method =
  | 'create'
  | 'update'
  | 'remove'
  | 'list'
  | 'inspect'
  | 'leases'
  | 'release'
  | 'reconcile'
  | 'status'
  | 'updatePeers'
  | 'updateMembers'
  | 'steer'
  | 'courses'
  | 'traffic'
  | 'setDraining'
  | 'purge';

export type Call = { readonly id: number; readonly method: Method; readonly parameters: unknown[] };

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: WireError };

export type Notice =
  /** `names` and `probes` are the receiver's from then on */
  | {
      readonly notice: 'ready';
      readonly names: NameSockets | undefined;
      readonly probes: ProbeDescriptors | undefined;
    }
  | { readonly notice: 'failed' | 'problem'; readonly error: WireError }
  | { readonly notice: 'members'; readonly members: readonly OwnMember[] }
  | { readonly notice: 'event'; readonly event: Omit<CulvertEvent, 'sequence' | 'wallMs'> };
