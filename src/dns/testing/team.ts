import { type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import type { Names } from '../names.ts';

/** Groups, their members, and where each is. */
type Groups = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/** Names that are written down. */
export function namesOf(groups: Groups, isWhole = true): Names {
  const members = Object.entries(groups).flatMap(([group, ids]) =>
    Object.entries(ids).flatMap(([id, addresses]) =>
      addresses.map((address) => ({ group, id, address: parseIpv4(address) })),
    ),
  );
  const at = (address: Ipv4): (typeof members)[number] | undefined => members.find((one) => one.address === address);
  return {
    groupOf: (asker) => at(asker)?.group,
    addressesOf: (group, id) =>
      members.filter((one) => one.group === group && one.id === id).map(({ address }) => address),
    isWhole: () => isWhole,
    idAt: (group, address) => members.find((one) => one.group === group && one.address === address)?.id,
  };
}
