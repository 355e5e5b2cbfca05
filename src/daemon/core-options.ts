import type { SlotRange } from '../ipam/allocator.ts';
import type { Topology } from '../ipam/lease.ts';
import type { ArpTiming } from '../linux/arp/timing.ts';
import type { MeshOptions } from '../mesh/host-mesh.ts';
import type { CrewParts } from '../sandbox/crew/crew.ts';
import type { NewEvent } from '../sandbox/event.ts';
import type { OwnMember } from '../sandbox/groups.ts';
import type { Host } from '../sandbox/host/objects.ts';

export type CoreOptions = {
  readonly host: Host;
  readonly version: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly slots: SlotRange;
  readonly poolSizes: Readonly<Record<Topology, number>>;
  readonly quarantineFloor_ms: number;
  /** that a sandbox may have opened at a time */
  readonly maxFlows: number;
  /** absent for a host that is in no cluster */
  readonly mesh?: MeshOptions;
  /** of probes on the bridge; as RFC 5227 says where absent */
  readonly arpTiming?: ArpTiming;
  readonly stuck?: CrewParts['stuck'];
  readonly emit: (event: NewEvent) => void;
  /** Hears who of this host comes into a group, and who leaves one. */
  readonly tell: (members: readonly OwnMember[]) => void;
  /** Hears what of the work that nobody waits for could not be done; it is tried again. */
  readonly failed: (error: unknown) => void;
};

/** Those that can be sent to another thread. */
export type ThreadOptions = Omit<CoreOptions, 'emit' | 'tell' | 'failed' | 'stuck'>;
