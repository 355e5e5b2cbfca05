import type { Ipv4 } from '../addr/ipv4.ts';

/** Who is in which group: what names are answered from. Groups and ids are in lower case, and any text is asked for. */
export interface Names {
  /** The group of the sandbox that has this address on this host; undefined where it is in none. */
  groupOf(asker: Ipv4): string | undefined;
  /** The addresses of members of that id, on any host; none where there is no such member. */
  addressesOf(group: string, id: string): readonly Ipv4[];
  /** Whether all members of the group are known; before, others may have the id that nobody is known to have. */
  isWhole(group: string): boolean;
  /** The id of the member that has the address. */
  idAt(group: string, address: Ipv4): string | undefined;
}

/** Of a host on which nobody is in a group. */
export const NO_NAMES: Names = {
  groupOf: () => undefined,
  addressesOf: () => [],
  isWhole: () => true,
  idAt: () => undefined,
};
