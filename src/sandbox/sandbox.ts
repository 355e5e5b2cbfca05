import type { Ipv4 } from '../addr/ipv4.ts';
import type { Mac } from '../addr/mac.ts';
import type { Generation, LeaseState, SandboxId, Slot, Topology } from '../ipam/lease.ts';
import type { GroupName } from './group.ts';
import type { EgressPolicy } from './policy/policy.ts';
import type { Rates } from './topology/network.ts';
import type { Via } from './via.ts';

/** What a caller asks for; two requests with one id are the same sandbox exactly when these are equal. */
export type Specification = {
  readonly topology: Topology;
  readonly rates: Rates;
  readonly policy: EgressPolicy;
  /** whose other members it reaches, on whatever host; absent for one that is alone */
  readonly group?: GroupName;
  /** the tunnel that it leaves by, and by no other way; absent for one that leaves by its host */
  readonly via?: Via;
};

/** A sandbox as its owner sees it. */
export type Sandbox = Specification & {
  readonly id: SandboxId;
  readonly slot: Slot;
  readonly generation: Generation;
  readonly state: LeaseState;
  /** The pin of its namespace: a path to give to setns(2), `nsenter --net=`, or a container runtime. */
  readonly netns: string;
  /** Where the host reaches it, and what the outside sees before the host's own masquerade. */
  readonly hostAddress: Ipv4;
  /** What it is inside: the guest's address behind the TAP, or that of eth0. */
  readonly guestAddress: Ipv4;
  readonly gateway: Ipv4;
  /** Its name server for the names of its group; what is not of the zone it refuses. */
  readonly dns: Ipv4;
  readonly mac: Mac;
  /** The TAP for a virtual machine monitor to open; absent in the other topologies. */
  readonly tap?: string;
  /** bytes, of every link on its way */
  readonly mtu: number;
};
