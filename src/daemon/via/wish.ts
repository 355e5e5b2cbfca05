import { ROUTER } from '../../plan/state.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { sandboxNamespace } from '../../sandbox/topology/layout.ts';
import type { BackendKind } from '../../tunnel/device/device.ts';

/** A tunnel that is to be there for a sandbox, or for a group. */
export type Wish = {
  /** tells it from others that had its number before */
  readonly serial: number;
  /** of this host */
  readonly number: number;
  /** the name of its file */
  readonly tunnel: string;
  /** name of the namespace that its link is to be in */
  readonly namespace: string;
  /** whether what leaves by it comes from elsewhere: a guest, or the sandboxes of a group */
  readonly forwards: boolean;
  /** who makes the device; absent for whoever can */
  readonly backend?: BackendKind;
  /** for whom it is, in words */
  readonly whose: string;
};

/** The tunnel of a sandbox; undefined for one that leaves by its host. */
export function wishOf({ id, slot, via, group, topology }: Sandbox): Omit<Wish, 'serial'> | undefined {
  if (via === undefined) return undefined;
  const { number, tunnel } = via;
  if (group !== undefined) {
    return { number, tunnel, namespace: ROUTER, forwards: true, whose: `group ${group}` };
  }
  const common = { number, tunnel, namespace: sandboxNamespace(slot), whose: `sandbox ${id}` };
  if (topology === 'microvm') return { ...common, forwards: true };
  // who is root where a device of the kernel is reads its key, and has it send where they like from the host
  return { ...common, forwards: false, backend: 'userspace' };
}
